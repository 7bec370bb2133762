// Package ingest is how media gets in and out: the receiver turns signed webhooks into
// Jobs, and the worker takes each Job to stored media, and each outgoing message to the
// provider.
//
// # What is promised
//
// A webhook that was answered 200 is a Job on the stream. The Job stays there
// until every medium of the message is a record with its blobs in the bucket,
// or a failure in the Message record and in the feed. A worker may die at any
// step: the next delivery finds what is there and goes on. All keys and event
// ids are functions of the webhook, so that doing a step twice changes nothing.
//
// # What is retried
//
// Trouble with the provider's API, which is asked for messages whose webhook never
// came, counts as trouble with the host of a medium.
// Trouble with the bucket or the streams is retried for as long as it lasts.
// Trouble with the host of a medium is retried with backoff until it is
// permanent by its nature or the Job is older than [Options].GiveUp; which it is
// is decided in one place, [verdict].
//
// # What leaves
//
// An outgoing message is posted to the provider at most once: see [Worker.send]. Its
// media are stored and fitted first, and share what its profile allows.
package ingest
