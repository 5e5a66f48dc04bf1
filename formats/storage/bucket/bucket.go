// Package bucket reads objects of Google Cloud Storage and of S3 and what speaks its protocol, with the
// credentials and endpoints that the clouds' own tools use. It brings the clouds' libraries along, so
// that only programs that want them import it.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"cloud.google.com/go/storage"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/gcsblob" // gs://
	"gocloud.dev/gcerrors"
	"gocloud.dev/gcp"
	"google.golang.org/api/googleapi"

	ours "github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// Options configure how a bucket is reached.
type Options struct {
	Pool *remote.Pool // of the files; never nil
}

// Open returns the source and the name of the object, or of the directory of objects, at an address,
// gs://BUCKET[/PATH] or s3://BUCKET[/PATH]. A query has the parameters of gocloud.dev, such as endpoint
// and use_path_style of s3. It appears in no error and no path.
//
// A malformed address is a *storage.AddressError. What cannot be read is an *remote.Error.
func Open(address string, o Options) (fs.FS, string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "gs" && u.Scheme != "s3" {
		return nil, "", ours.MalformedAddress(address, "is not gs://BUCKET[/PATH] or s3://BUCKET[/PATH]")
	}
	if at := strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/"); at != "" && !fs.ValidPath(at) {
		return nil, "", ours.MalformedAddress(address, "the path is not well formed")
	}
	opened, name, err := openBucket(u, o)
	if err != nil {
		return nil, "", err
	}
	return New(opened, name, strings.TrimPrefix(u.Path, "/"), o)
}

// openBucket opens the bucket of an address. name is its address.
func openBucket(u *url.URL, o Options) (opened *blob.Bucket, name string, err error) {
	ctx := context.WithoutCancel(o.Pool.Context()) // requests have contexts of their own
	at := *u
	at.Path, at.User, at.Fragment = "", nil, ""
	name = u.Scheme + "://" + u.Host
	if u.Scheme == "gs" && os.Getenv("STORAGE_EMULATOR_HOST") == "" && u.Query().Get("anonymous") != "true" {
		if _, err := gcp.DefaultCredentials(ctx); err != nil {
			return nil, "", remote.Errorf(name, remote.Unauthorized, "there are no Google Cloud credentials; the parameter anonymous=true is for public buckets")
		}
	}
	if u.Scheme == "s3" {
		opened, err = openS3(ctx, u, name)
	} else {
		opened, err = blob.OpenBucket(ctx, at.String())
	}
	switch {
	case err == nil:
	case errors.As(err, new(*remote.Error)), errors.As(err, new(*ours.AddressError)):
		return nil, "", err
	case u.RawQuery != "":
		return nil, "", ours.MalformedAddress(name, "there is a parameter that "+u.Scheme+":// addresses do not take")
	default:
		return nil, "", remote.Errorf(name, remote.Invalid, "the bucket cannot be reached with these settings")
	}
	var google *storage.Client
	if opened.As(&google) {
		google.SetRetry(storage.WithPolicy(storage.RetryNever)) // the pool tries again
	}
	return opened, name, nil
}

// New is Open for a bucket of any kind that is open already. name is the bucket's address, for errors and
// paths; at is the path of the object or directory, "" for the whole bucket.
func New(opened *blob.Bucket, name, at string, o Options) (fs.FS, string, error) {
	b := &bucket{pool: o.Pool, bucket: opened, name: name, root: strings.TrimSuffix(at, "/")}
	b.forget()
	if b.root == "" {
		b.root = "."
	}
	if !fs.ValidPath(b.root) {
		return nil, "", ours.MalformedAddress(b.address(at), "the path is not well formed")
	}
	if b.root != "." && !strings.HasSuffix(at, "/") {
		whole := b.root
		b.root = path.Dir(whole)
		_, err := b.open(path.Base(whole))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return b, path.Base(whole), err
		}
		b.root = whole
		b.forget()
	}
	l, err := b.list(".")
	if err == nil && len(l.entries) == 0 {
		err = remote.Errorf(b.address(b.root), remote.Missing, "the bucket has no object of that name and none below it")
	}
	return b, ".", err
}

// bucket is a directory of a bucket. A directory is what its objects' keys have before a slash.
type bucket struct {
	remote.Failures
	pool   *remote.Pool
	bucket *blob.Bucket
	name   string // its address
	root   string // the directory, "." for the whole bucket

	mu     sync.Mutex
	files  map[string]*file    // by name
	listed map[string]*listing // by directory
}

// file is an object that was opened.
type file struct {
	once    sync.Once
	node    *remote.Node
	version string
	err     error
}

// listing is what a directory holds.
type listing struct {
	once    sync.Once
	entries map[string]fs.FileInfo
	err     error
}

// key returns the key of a name.
func (b *bucket) key(name string) string { return path.Join(b.root, name) }

// address returns the address of a key without the query.
func (b *bucket) address(key string) string {
	return strings.TrimSuffix(b.name+"/"+key, "/.")
}

// forget makes the bucket ask for everything again.
func (b *bucket) forget() { b.files, b.listed = map[string]*file{}, map[string]*listing{} }

// Path returns the address of a name.
func (b *bucket) Path(name string) string { return b.address(b.key(name)) }

// Memory is for storage.Memory.
func (b *bucket) Memory() int64 { return b.pool.Memory() }

// Origin is for storage.OriginOf.
func (b *bucket) Origin(name string) ours.Origin {
	o := ours.Origin{Address: b.Path(name)}
	b.mu.Lock()
	defer b.mu.Unlock()
	for each, f := range b.files {
		if below, ok := ours.Below(name, each); ok && f.node != nil {
			o.Files = append(o.Files, ours.FileVersion{Name: below, Version: f.version})
		}
	}
	return o.Sorted()
}

// open returns an object. The store is asked for it once.
func (b *bucket) open(name string) (*remote.Node, error) {
	b.mu.Lock()
	f := b.files[name]
	if f == nil {
		f = &file{}
		b.files[name] = f
	}
	b.mu.Unlock()
	f.once.Do(func() {
		f.err = b.Check(b.pool.Retry(b.Path(name), func(ctx context.Context) error {
			attributes, err := b.bucket.Attributes(ctx, b.key(name))
			if err != nil {
				return b.explain(err, name)
			}
			o := &object{bucket: b, name: name, size: attributes.Size, etag: attributes.ETag}
			f.version = strings.Trim(o.etag, `"`)
			var gcs storage.ObjectAttrs
			if attributes.As(&gcs) {
				o.generation = gcs.Generation
				f.version = fmt.Sprint(gcs.Generation)
			}
			f.node = b.pool.NewNode(b.Path(name), o.size, o, nil)
			return nil
		}))
	})
	return f.node, f.err
}

// explain makes an *remote.Error of an error of the store.
func (b *bucket) explain(err error, name string) error {
	if err == nil || errors.Is(err, context.Canceled) || gcerrors.Code(err) == gcerrors.Canceled {
		return err
	}
	reason, problem := remote.Unreachable, ""
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		reason, problem = remote.Missing, "the bucket has no such object, or there is no such bucket"
	case gcerrors.PermissionDenied:
		reason, problem = remote.Forbidden, "access is denied"
	case gcerrors.ResourceExhausted:
		reason, problem = remote.Busy, "the store wants fewer requests"
	case gcerrors.FailedPrecondition, gcerrors.AlreadyExists:
		reason, problem = remote.Changed, "the object changes while it is being read"
	}
	status := b.statusOf(err)
	if host := remote.MissingHost(func(target any) bool { return b.as(err, target) }); host != "" {
		reason, problem = remote.NoHost, "there is no host "+host
	}
	switch {
	case b.isCredentials(err):
		reason, problem = remote.Unauthorized, "there are no credentials"
	case status == 412:
		reason, problem = remote.Changed, "the object changes while it is being read"
	case status == 401:
		reason, problem = remote.Unauthorized, "the store wants credentials"
	case status == 403:
		reason, problem = remote.Forbidden, "access is denied"
	case status == 404:
		reason, problem = remote.Missing, "the bucket has no such object, or there is no such bucket"
	case status == 429:
		reason, problem = remote.Busy, "the store wants fewer requests"
	case 400 <= status && status < 500 && status != 408 && b.plain(err) != "RequestTimeout":
		reason, problem = remote.Invalid, "the store refuses the request: "+b.plain(err)
	case status >= 500:
		reason, problem = remote.Failing, fmt.Sprintf("the store answers %d", status)
	}
	e := remote.Errorf(b.Path(name), reason, "%s", problem)
	e.Status = status
	if problem == "" {
		e.Problem = "the store does not answer: " + b.plain(err)
	}
	return e
}

// as is errors.As for errors of the store, whose libraries wrap them in ways of their own.
func (b *bucket) as(err error, target any) bool {
	return errors.As(err, target) || b.bucket.ErrorAs(err, target)
}

// statusOf returns the HTTP status of an error of the store, 0 if it has none.
func (b *bucket) statusOf(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if b.as(err, &answer) {
		return answer.HTTPStatusCode()
	}
	var google *googleapi.Error
	if b.as(err, &google) {
		return google.Code
	}
	return 0
}

// plain returns what an error says without the requests that the libraries describe around it.
func (b *bucket) plain(err error) string {
	var api smithy.APIError
	if b.as(err, &api) {
		return api.ErrorCode()
	}
	var signing *v4.SigningError
	if b.as(err, &signing) {
		return "there are no credentials for it"
	}
	var request *url.Error
	if b.as(err, &request) {
		return request.Err.Error()
	}
	return err.Error()
}

// Open implements fs.FS.
func (b *bucket) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	n, err := b.open(name)
	if err != nil {
		return nil, err
	}
	return n.Open(name), nil
}

// Stat implements fs.StatFS.
func (b *bucket) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return remote.Directory("."), nil
	}
	b.mu.Lock()
	f := b.files[name]
	b.mu.Unlock()
	if f != nil && f.node != nil {
		return f.node.Info(name), nil
	}
	l, err := b.list(path.Dir(name))
	if err != nil {
		return nil, err
	}
	if info := l.entries[path.Base(name)]; info != nil {
		return info, nil
	}
	return nil, &fs.PathError{Op: "stat", Path: b.Path(name), Err: fs.ErrNotExist}
}

// ReadDir implements fs.ReadDirFS.
func (b *bucket) ReadDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	l, err := b.list(name)
	if err != nil {
		return nil, err
	}
	if len(l.entries) == 0 && name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: b.Path(name), Err: fs.ErrNotExist}
	}
	var entries []fs.DirEntry
	for _, each := range slices.Sorted(maps.Keys(l.entries)) {
		entries = append(entries, fs.FileInfoToDirEntry(l.entries[each]))
	}
	return entries, nil
}

// mostEntries bounds what is kept of a directory.
const mostEntries = 1 << 20

// list returns what a directory holds. The store is asked once.
func (b *bucket) list(dir string) (*listing, error) {
	b.mu.Lock()
	l := b.listed[dir]
	if l == nil {
		l = &listing{}
		b.listed[dir] = l
	}
	b.mu.Unlock()
	l.once.Do(func() {
		l.err = b.Check(b.pool.Retry(b.Path(dir), func(ctx context.Context) (err error) {
			l.entries, err = b.readDir(ctx, dir)
			return err
		}))
	})
	return l, l.err
}

func (b *bucket) readDir(ctx context.Context, dir string) (map[string]fs.FileInfo, error) {
	prefix := b.key(dir) + "/"
	if prefix == "./" {
		prefix = ""
	}
	entries := map[string]fs.FileInfo{}
	objects := b.bucket.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"})
	for {
		o, err := objects.Next(ctx)
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return nil, b.explain(err, dir)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(o.Key, prefix), "/")
		if !fs.ValidPath(name) || name == "." || strings.Contains(name, "/") {
			continue // an object that stands for the directory itself, or has no name that a file could have
		}
		if o.IsDir {
			entries[name] = remote.Directory(name)
		} else if entries[name] == nil {
			entries[name] = remote.Entry(name, o.Size)
		}
		if len(entries) > mostEntries {
			return nil, remote.Errorf(b.Path(dir), remote.Invalid, "the directory has more than %d objects", mostEntries)
		}
	}
}

// object is an object at one version.
type object struct {
	bucket     *bucket
	name       string
	size       int64
	etag       string
	generation int64 // of Google Cloud Storage, 0 elsewhere
}

// Open implements remote.Object.
func (o *object) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	r, err := o.bucket.bucket.NewRangeReader(ctx, o.bucket.key(o.name), off, n, &blob.ReaderOptions{BeforeRead: o.pin})
	if err != nil {
		err := o.bucket.explain(err, o.name)
		var e *remote.Error
		if errors.As(err, &e) && (e.Reason == remote.Missing || e.Status == 416) {
			e.Reason, e.Problem = remote.Changed, "the object was removed or replaced while it is being read"
		}
		return nil, err
	}
	var answer s3.GetObjectOutput
	replaced := r.As(&answer) && answer.ETag != nil && o.etag != "" && *answer.ETag != o.etag
	if replaced || r.Size() != o.size {
		r.Close()
		return nil, remote.Errorf(o.bucket.Path(o.name), remote.Changed, "the object changes while it is being read")
	}
	return r, nil
}

// pin asks for the version that was opened.
func (o *object) pin(as func(any) bool) error {
	var handle **storage.ObjectHandle
	if o.generation != 0 && as(&handle) {
		*handle = (*handle).Generation(o.generation)
	}
	var request *s3.GetObjectInput
	if o.etag != "" && as(&request) {
		request.IfMatch = &o.etag
	}
	return nil
}
