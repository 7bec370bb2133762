package service

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"mmspipe/store"
)

// objects is where records and media are kept.
type objects struct {
	records *store.Store
	where   string // in words
	// presign makes a link to a blob that the object store serves itself; nil where
	// browsers do not reach it.
	presign func(ctx context.Context, key string, ttl time.Duration, contentType, disposition string) (*url.URL, error)
}

// openObjects opens the object store where one is set, else the directory.
func (s *service) openObjects(ctx context.Context) error {
	if s.S3 == nil {
		dir := filepath.Join(s.Data, "bucket")
		bucket, err := store.OpenDir(dir)
		if err != nil {
			return err
		}
		s.parts.onStop("bucket", func(stopping context.Context) error {
			closed := make(chan error, 1)
			go func() { closed <- bucket.Close() }() // it waits for those that use it
			select {
			case err := <-closed:
				return err
			case <-stopping.Done():
				return stopping.Err()
			}
		})
		s.objects = objects{records: s.records(bucket), where: "directory " + dir}
		return nil
	}
	bucket, err := openMinIO(ctx, *s.S3)
	if err != nil {
		return err
	}
	s.objects = objects{records: s.records(bucket), where: fmt.Sprintf("bucket %s at %s", s.S3.Bucket, s.S3.Endpoint)}
	if s.S3.PublicEndpoint != "" {
		s.objects.presign = bucket.Presign
	}
	return nil
}

// records keeps records in a bucket.
func (s *service) records(b store.Bucket) *store.Store {
	records := store.New(b, s.Secret)
	records.Upstream, records.Region = s.Upstream, s.Region
	return records
}

// openMinIO tries for some seconds: a MinIO that has just started refuses requests
// for a moment after its own health check succeeds.
func openMinIO(ctx context.Context, o store.MinIOOptions) (*store.MinIO, error) {
	const attempts = 10
	for attempt := 1; ; attempt++ {
		bucket, err := store.OpenMinIO(ctx, o)
		if err == nil || attempt == attempts {
			return bucket, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, err
		}
	}
}
