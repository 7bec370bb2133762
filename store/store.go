// Package store keeps Message and Media records and their blobs in a bucket.
package store
