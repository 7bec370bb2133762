//go:build !race

package resize_test

// raceDetector says that these tests run with the race detector.
const raceDetector = false
