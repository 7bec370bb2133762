package api

// CheckMessage is what a message that is posted is checked with.
var CheckMessage = checkMessage
