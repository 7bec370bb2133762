//go:build race

package resize_test

// raceDetector says that these tests run with the race detector, which makes the work on
// pixels ten times as long.
const raceDetector = true
