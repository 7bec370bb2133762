// Package ingest runs the worker: it takes a Job from the queue, hands it to the
// handler of its kind, and settles it. It knows nothing of media. The handlers are
// in the packages below it, each for one way through the pipeline.
//
// # What is promised
//
// A Job stays in the queue until its handler returns without an error. A worker may
// die at any step: the Job is delivered again, and the handler finds what is there
// and goes on. So everything that a handler does may be done twice.
//
// # What is tried again
//
// A handler returns an error, and [decide] alone turns it into what becomes of the
// Job. Trouble of this house, such as a bucket that does not answer, is tried again
// for as long as it lasts. Trouble with somebody else's host is tried again until
// [Permanent] says that it is for good; a handler records it as a failure then.
package ingest
