package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// MinIO is a [Bucket] in MinIO or another service that speaks S3 and honours
// If-Match and If-None-Match when an object is put. Any number of processes may
// use it at once.
//
// Nothing is tried twice in here: an error is the caller's to retry. An ETag is
// the service's, commonly the MD5 of the content, so that the same content put
// again may have the same. How durable an object is once it is put is the
// service's affair.
type MinIO struct {
	client *minio.Client
	public *minio.Client // signs for PublicEndpoint; nil without one
	bucket string
}

// MinIOOptions says where the bucket is.
type MinIOOptions struct {
	Endpoint  string // host, or host:port
	Bucket    string // made if it is absent
	AccessKey string
	SecretKey string
	Region    string // empty: us-east-1, which is MinIO's
	TLS       bool   // https
	// PublicEndpoint is where browsers reach Endpoint: an origin, or a host
	// with the scheme that TLS says. Empty: [MinIO.Presign] is refused.
	PublicEndpoint string
}

// How long a service may take. A local one answers in milliseconds; the limit
// for a response leaves a busy disk the time to sync 32 MiB.
const (
	minioDialTimeout     = 5 * time.Second
	minioResponseTimeout = 30 * time.Second
)

// OpenMinIO connects to the service, makes the bucket if it is absent, and
// proves with a few small objects, which it removes, that the conditions of Put
// are honoured. A service that is away or does not honour them is an error.
func OpenMinIO(ctx context.Context, o MinIOOptions) (*MinIO, error) {
	m, err := newMinIO(o)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	if err := m.makeBucket(ctx, o.Region); err != nil {
		return nil, fmt.Errorf("open object store at %s: make bucket %s: %w", o.Endpoint, o.Bucket, err)
	}
	if err := selfTest(ctx, m); err != nil {
		return nil, fmt.Errorf("open object store at %s: test bucket %s: %w", o.Endpoint, o.Bucket, err)
	}
	return m, nil
}

func newMinIO(o MinIOOptions) (*MinIO, error) {
	client, err := newClient(o.Endpoint, o.TLS, o)
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	m := &MinIO{client: client, bucket: o.Bucket}
	if o.PublicEndpoint == "" {
		return m, nil
	}
	host, tls := o.PublicEndpoint, o.TLS
	if scheme, rest, ok := strings.Cut(host, "://"); ok {
		host, tls = strings.TrimSuffix(rest, "/"), scheme == "https"
	}
	if m.public, err = newClient(host, tls, o); err != nil {
		return nil, fmt.Errorf("public endpoint: %w", err)
	}
	return m, nil
}

func newClient(endpoint string, tls bool, o MinIOOptions) (*minio.Client, error) {
	transport, err := minio.DefaultTransport(tls)
	if err != nil {
		return nil, err
	}
	transport.DialContext = (&net.Dialer{Timeout: minioDialTimeout}).DialContext
	transport.ResponseHeaderTimeout = minioResponseTimeout
	region := o.Region
	if region == "" {
		region = "us-east-1" // without one, minio-go asks the service first
	}
	return minio.New(endpoint, &minio.Options{
		Creds:     credentials.NewStaticV4(o.AccessKey, o.SecretKey, ""),
		Secure:    tls,
		Transport: transport,
		Region:    region,
		// With TLS a CRC32C of the body follows it, without TLS each chunk is
		// signed: the service refuses a body that was damaged on its way.
		TrailingHeaders: true,
		MaxRetries:      1,
	})
}

func (m *MinIO) makeBucket(ctx context.Context, region string) error {
	exists, err := m.client.BucketExists(ctx, m.bucket)
	if err != nil || exists {
		return err
	}
	err = m.client.MakeBucket(ctx, m.bucket, minio.MakeBucketOptions{Region: region})
	if code := minio.ToErrorResponse(err).Code; code == "BucketAlreadyOwnedByYou" {
		return nil // another process was faster
	}
	return err
}

// Put is [Bucket]'s.
func (m *MinIO) Put(ctx context.Context, key string, r io.Reader, size int64, cond Condition) (Object, error) {
	o, err := m.put(ctx, key, r, size, cond)
	if err != nil {
		return Object{}, fmt.Errorf("put %s: %w", key, err)
	}
	return o, nil
}

func (m *MinIO) put(ctx context.Context, key string, r io.Reader, size int64, cond Condition) (Object, error) {
	if err := checkPut(key, size); err != nil {
		return Object{}, err
	}
	body := &exactly{ctx: ctx, r: r, left: size}
	if size == 0 { // of which an HTTP client would read nothing
		if _, err := body.Read(nil); !errors.Is(err, io.EOF) {
			return Object{}, err
		}
	}
	// One request, whatever the size: conditions hold for a whole object only.
	opts := minio.PutObjectOptions{DisableMultipart: true}
	switch {
	case cond.ifAbsent:
		opts.SetMatchETagExcept("*")
	case cond.ifMatch != "":
		opts.SetMatchETag(cond.ifMatch)
	}
	info, err := m.client.PutObject(ctx, m.bucket, key, body, size, opts)
	readErr := body.stop()
	if err != nil {
		if readErr != nil {
			return Object{}, readErr
		}
		return Object{}, putError(err)
	}
	return Object{Key: key, Size: size, ETag: info.ETag}, nil
}

// putError finds the failed conditions among the errors of a put. Besides 412,
// S3 answers 409 where two conditional writes meet, and 404 where there is
// nothing to match (Amazon S3 User Guide, "Conditional writes").
func putError(err error) error {
	response := minio.ToErrorResponse(err)
	switch response.Code {
	case minio.PreconditionFailed, "ConditionalRequestConflict", minio.NoSuchKey:
		return fmt.Errorf("%w: %s", ErrPrecondition, response.Code)
	}
	return err
}

// getError finds absence among the errors of a read.
func getError(err error) error {
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return ErrNotFound
	}
	return err
}

// Get is [Bucket]'s.
func (m *MinIO) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, Object, error) {
	r, o, err := m.get(ctx, key, offset, length)
	if err != nil {
		return nil, Object{}, fmt.Errorf("get %s: %w", key, err)
	}
	return r, o, nil
}

func (m *MinIO) get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, Object, error) {
	if err := checkKey(key); err != nil {
		return nil, Object{}, err
	}
	if length == 0 { // of which a Range header cannot speak
		return m.empty(ctx, key)
	}
	var opts minio.GetObjectOptions
	switch {
	case length > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0:
		opts.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	core := minio.Core{Client: m.client}
	r, info, header, err := core.GetObject(ctx, m.bucket, key, opts)
	if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return m.empty(ctx, key)
	}
	if err != nil {
		return nil, Object{}, getError(err)
	}
	info.Key = key
	if header.Get("Content-Range") != "" {
		if info.Size, err = wholeSize(header); err != nil {
			r.Close()
			return nil, Object{}, err
		}
	}
	return r, minioObject(info), nil
}

// empty is a range without bytes.
func (m *MinIO) empty(ctx context.Context, key string) (io.ReadCloser, Object, error) {
	o, err := m.stat(ctx, key)
	return http.NoBody, o, err
}

// wholeSize is the size in "bytes 0-9/size" (RFC 9110, section 14.4).
func wholeSize(header http.Header) (int64, error) {
	value := header.Get("Content-Range")
	_, size, _ := strings.Cut(value, "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("malformed Content-Range %q", value)
	}
	return n, nil
}

// Stat is [Bucket]'s.
func (m *MinIO) Stat(ctx context.Context, key string) (Object, error) {
	o, err := m.stat(ctx, key)
	if err != nil {
		return Object{}, fmt.Errorf("stat %s: %w", key, err)
	}
	return o, nil
}

func (m *MinIO) stat(ctx context.Context, key string) (Object, error) {
	if err := checkKey(key); err != nil {
		return Object{}, err
	}
	info, err := m.client.StatObject(ctx, m.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return Object{}, getError(err)
	}
	return minioObject(info), nil
}

// Delete is [Bucket]'s.
func (m *MinIO) Delete(ctx context.Context, key string) error {
	err := checkKey(key)
	if err == nil {
		err = m.client.RemoveObject(ctx, m.bucket, key, minio.RemoveObjectOptions{})
	}
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchKey {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// List is [Bucket]'s. One call of the service lists at most 1000.
func (m *MinIO) List(ctx context.Context, prefix, after string, limit int) ([]Object, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	if limit <= 0 {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := minio.ListObjectsOptions{Prefix: prefix, StartAfter: after, MaxKeys: min(limit, 1000), Recursive: true}
	var list []Object
	for info := range m.client.ListObjectsIter(ctx, m.bucket, opts) {
		if info.Err != nil {
			return nil, fmt.Errorf("list %q: %w", prefix, info.Err)
		}
		list = append(list, minioObject(info))
		if len(list) == limit {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list %q: %w", prefix, err)
	}
	return list, nil
}

func minioObject(info minio.ObjectInfo) Object {
	return Object{Key: info.Key, Size: info.Size, ETag: info.ETag, Modified: info.LastModified}
}

// Presign returns a link at the public endpoint that reads key until ttl is
// over (a second to seven days, as S3 has it), whoever has it. The answer carries the given Content-Type and
// Content-Disposition, which are part of what is signed. Without a public
// endpoint it is an error. Nothing is asked of the service.
func (m *MinIO) Presign(ctx context.Context, key string, ttl time.Duration, contentType, disposition string) (*url.URL, error) {
	if m.public == nil {
		return nil, errors.New("presign: no public endpoint")
	}
	if err := checkKey(key); err != nil {
		return nil, fmt.Errorf("presign: %w", err)
	}
	params := url.Values{
		"response-content-type":        {contentType},
		"response-content-disposition": {disposition},
	}
	u, err := m.public.PresignedGetObject(ctx, m.bucket, key, ttl, params)
	if err != nil {
		return nil, fmt.Errorf("presign %s: %w", key, err)
	}
	return u, nil
}
