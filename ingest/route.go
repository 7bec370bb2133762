package ingest

import "mmspipe/resize"

// Route chooses the profile of an outgoing message by its recipient and sender.
type Route func(to, from string) resize.Profile
