package bucket

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cloud.google.com/go/storage"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"

	ours "github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/upload"
)

// OpenSink returns the destination at an address, gs://BUCKET/PATH or s3://BUCKET/PATH, with the parameters that Open
// takes: a file if single is set, otherwise a directory.
func OpenSink(address string, single bool, o Options) (publish.Sink, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || single && strings.Trim(u.Path, "/") == "" || !fs.ValidPath(strings.Trim(u.Path, "/")) && strings.Trim(u.Path, "/") != "" {
		return nil, ours.MalformedAddress(address, "is not gs://BUCKET/PATH or s3://BUCKET/PATH")
	}
	opened, name, err := openBucket(u, o)
	if err != nil {
		return nil, err
	}
	return NewSink(opened, name, strings.Trim(u.Path, "/"), single, o), nil
}

// NewSink is OpenSink for a bucket that is open already. name is the bucket's address, key that of the destination.
func NewSink(opened *blob.Bucket, name, key string, single bool, o Options) publish.Sink {
	b := &bucket{pool: o.Pool, bucket: opened, name: name, root: "."}
	b.forget()
	s := store{b, o, composed{b}}
	var s3 *s3.Client
	if opened.As(&s3) {
		s.parts = multipart{b, s3}
	}
	return upload.New(o.Pool, s, key, single)
}

// store is an upload.Store.
type store struct {
	*bucket
	options Options
	parts   parts
}

// parts sends objects in parts. See upload.Store.
type parts interface {
	Begin(ctx context.Context, key, scratch string) (id string, err error)
	SendPart(ctx context.Context, key, id string, number int, content []byte) (tag string, err error)
	Finish(ctx context.Context, key, id string, tags []string) error
	Abort(ctx context.Context, key, id string) error
	Copy(ctx context.Context, to, from string) error
}

func (s store) Path(key string) string { return s.address(key) }

func (s store) Source(key string) (fs.FS, string, error) {
	return New(s.bucket.bucket, s.name, key, s.options)
}

func (s store) List(ctx context.Context, prefix string) (keys []string, err error) {
	objects := s.bucket.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := objects.Next(ctx)
		if err == io.EOF {
			return keys, nil
		}
		if err != nil {
			return nil, s.explain(err, prefix)
		}
		keys = append(keys, o.Key)
		if len(keys) > mostEntries {
			return nil, remote.Errorf(s.address(prefix), remote.Invalid, "the directory has more than %d objects", mostEntries)
		}
	}
}

func (s store) Get(ctx context.Context, key string) ([]byte, error) {
	const most = 16 << 20
	r, err := s.bucket.bucket.NewRangeReader(ctx, key, 0, most, nil)
	if err != nil {
		return nil, s.explain(err, key)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	return content, s.explain(err, key)
}

func (s store) Put(ctx context.Context, key string, content []byte) error {
	return s.explain(s.bucket.put(ctx, key, content), key)
}

// PutNew implements upload.Store.
func (s store) PutNew(ctx context.Context, key string, content []byte) error {
	err := s.explain(s.bucket.putIf(ctx, key, content, true), key)
	var e *remote.Error
	if errors.As(err, &e) && e.Status == http.StatusNotImplemented {
		return s.Put(ctx, key, content)
	}
	if errors.As(err, &e) && e.Status == http.StatusConflict { // another request of this kind is being served
		e.Reason = remote.Changed
	}
	return err
}

// put writes an object in one request.
func (b *bucket) put(ctx context.Context, key string, content []byte) error {
	return b.putIf(ctx, key, content, false)
}

// putIf is put, or if absent is set, fails if there is such an object.
func (b *bucket) putIf(ctx context.Context, key string, content []byte, absent bool) error {
	return b.bucket.WriteAll(ctx, key, content, &blob.WriterOptions{ContentType: "application/octet-stream", IfNotExist: absent, BeforeWrite: func(as func(any) bool) error {
		var w **storage.Writer
		if as(&w) {
			(*w).ChunkSize = 0 // one request
			(*w).CRC32C, (*w).SendCRC32C = crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)), true
		}
		return nil
	}})
}

func (s store) Delete(ctx context.Context, key string) error {
	err := s.explain(s.bucket.bucket.Delete(ctx, key), key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s store) Begin(ctx context.Context, key, scratch string) (string, error) {
	id, err := s.parts.Begin(ctx, key, scratch)
	return id, s.explain(err, key)
}

func (s store) SendPart(ctx context.Context, key, id string, number int, content []byte) (string, error) {
	tag, err := s.parts.SendPart(ctx, key, id, number, content)
	return tag, s.explain(err, key)
}

func (s store) Finish(ctx context.Context, key, id string, tags []string) error {
	return s.explain(s.parts.Finish(ctx, key, id, tags), key)
}

func (s store) Abort(ctx context.Context, key, id string) error {
	return s.explain(s.parts.Abort(ctx, key, id), key)
}

func (s store) Copy(ctx context.Context, to, from string) error {
	return s.explain(s.parts.Copy(ctx, to, from), to)
}

// composed sends parts as objects below a scratch prefix, and composes them into one: on Google Cloud Storage within the
// store, elsewhere through this machine.
type composed struct{ *bucket }

func (c composed) Begin(_ context.Context, _, scratch string) (string, error) {
	return scratch + "/", nil
}

func (c composed) SendPart(ctx context.Context, _, id string, number int, content []byte) (string, error) {
	key := fmt.Sprintf("%s%06d", id, number)
	return key, c.put(ctx, key, content)
}

// mostComposed is how many objects Google Cloud Storage composes at once.
const mostComposed = 32

func (c composed) Finish(ctx context.Context, key, id string, tags []string) error {
	var google *storage.Client
	if !c.bucket.bucket.As(&google) {
		return c.join(ctx, key, tags)
	}
	name := strings.TrimPrefix(c.name, "gs://")
	for level := 0; len(tags) > mostComposed; level++ {
		var next []string
		for group := range slices.Chunk(tags, mostComposed) {
			to := fmt.Sprintf("%slevel%d-%06d", id, level, len(next))
			if err := compose(ctx, google.Bucket(name), to, group); err != nil {
				return err
			}
			next = append(next, to)
		}
		tags = next
	}
	return compose(ctx, google.Bucket(name), key, tags)
}

func compose(ctx context.Context, b *storage.BucketHandle, to string, from []string) error {
	var parts []*storage.ObjectHandle
	for _, key := range from {
		parts = append(parts, b.Object(key))
	}
	composer := b.Object(to).ComposerFrom(parts...)
	composer.ContentType = "application/octet-stream"
	_, err := composer.Run(ctx)
	return err
}

// join copies objects into one.
func (c composed) join(ctx context.Context, key string, from []string) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close, it gives the object up
	w, err := c.bucket.bucket.NewWriter(ctx, key, nil)
	if err != nil {
		return err
	}
	for _, part := range from {
		r, err := c.bucket.bucket.NewReader(ctx, part, nil)
		if err == nil {
			_, err = io.Copy(w, r)
			err = errors.Join(err, r.Close())
		}
		if err != nil {
			cancel()
			return errors.Join(err, w.Close())
		}
	}
	return w.Close()
}

func (c composed) Abort(ctx context.Context, key, id string) error {
	if id == "" {
		return nil // all parts are below scratch
	}
	objects := c.bucket.bucket.List(&blob.ListOptions{Prefix: id})
	for {
		o, err := objects.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = c.bucket.bucket.Delete(ctx, o.Key)
		}
		if err != nil {
			return err
		}
	}
}

func (c composed) Copy(ctx context.Context, to, from string) error {
	return c.bucket.bucket.Copy(ctx, to, from, nil)
}
