// Package storetest holds every bucket to one contract, and what is stored in
// it to the invariant of package store.
//
// [TestBucket] is the contract of [store.Bucket] in cases; an implementation
// needs no further tests of what the contract says. [Sweep] runs a job with a
// [Faulty] bucket that fails at each call in turn, and with another worker let
// in before each call. [Audit] hashes all that is stored, and
// [AuditIndex] looks for every message in the index. [RunMinIO] starts the
// real thing.
package storetest
