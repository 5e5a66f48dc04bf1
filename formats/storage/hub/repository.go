package hub

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/internal/httpfile"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// repository is a repository at a commit, or a directory of it.
type repository struct {
	remote.Failures
	location
	commit   string
	root     string // the directory, "" for all of it
	endpoint *url.URL
	client   *httpfile.Client
	pool     *remote.Pool
	cache    cache
	offline  bool

	files map[string]*file // by path in the repository
}

// file is a file or directory of a repository.
type file struct {
	dir  bool
	size int64

	once sync.Once
	node *remote.Node
	err  error
}

// find returns the file of a name in the source, and its path in the repository.
func (r *repository) find(op, name string) (*file, string, error) {
	if !fs.ValidPath(name) {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	full := path.Join(r.root, name)
	f := r.files[full]
	if f == nil {
		return nil, full, &fs.PathError{Op: op, Path: r.Path(name), Err: fs.ErrNotExist}
	}
	return f, full, nil
}

// Open implements fs.FS.
func (r *repository) Open(name string) (fs.File, error) {
	f, full, err := r.find("open", name)
	if err != nil {
		return nil, err
	}
	if f.dir {
		return nil, &fs.PathError{Op: "open", Path: r.Path(name), Err: fs.ErrInvalid}
	}
	if cached, ok := r.cache.open(r.commit, full, f.size); ok {
		return cached, nil
	}
	if r.offline {
		return nil, remote.Errorf(r.Path(name), remote.Offline, "the cache does not hold the file")
	}
	f.once.Do(func() { f.node, f.err = r.node(full, f.size) })
	if f.err != nil {
		return nil, r.Check(f.err)
	}
	return f.node.Open(name), nil
}

// node opens a file on the hub.
func (r *repository) node(full string, size int64) (n *remote.Node, err error) {
	u, err := r.url(r.repo, "resolve", r.commit, (&url.URL{Path: full}).EscapedPath())
	if err != nil {
		return nil, remote.Errorf(r.address(full), remote.Invalid, "not a usable address")
	}
	err = r.pool.Retry(r.address(full), func(ctx context.Context) error {
		object, head, err := httpfile.Open(ctx, r.client, u)
		if err != nil {
			return err
		}
		if object.Size() != size {
			return remote.Errorf(r.address(full), remote.Changed, "the file has %d bytes, and the hub's list of files says %d", object.Size(), size)
		}
		n = r.pool.NewNode(r.address(full), size, object, head)
		return nil
	})
	var e *remote.Error
	if errors.As(err, &e) {
		e.Address = r.address(full)
	}
	return n, err
}

// Stat implements fs.StatFS.
func (r *repository) Stat(name string) (fs.FileInfo, error) {
	f, full, err := r.find("stat", name)
	if err != nil {
		return nil, err
	}
	if f.dir {
		return remote.Directory(full), nil
	}
	return remote.Entry(full, f.size), nil
}

// ReadDir implements fs.ReadDirFS.
func (r *repository) ReadDir(name string) ([]fs.DirEntry, error) {
	_, full, err := r.find("readdir", name)
	if err != nil {
		return nil, err
	}
	var entries []fs.DirEntry
	for _, each := range slices.Sorted(maps.Keys(r.files)) {
		if each == "." || path.Dir(each) != full {
			continue
		}
		info := remote.Entry(each, r.files[each].size)
		if r.files[each].dir {
			info = remote.Directory(each)
		}
		entries = append(entries, fs.FileInfoToDirEntry(info))
	}
	return entries, nil
}

// Path returns the address of a file.
func (r *repository) Path(name string) string { return r.address(path.Join(r.root, name)) }

// Memory is for storage.Memory.
func (r *repository) Memory() int64 { return r.pool.Memory() }

// Origin is for storage.OriginOf.
func (r *repository) Origin(name string) storage.Origin {
	plain := location{repo: r.repo}
	return storage.Origin{Address: plain.address(path.Join(r.root, name)), Commit: r.commit}
}

// openCached makes the source of what the local cache holds.
func (r *repository) openCached() error {
	r.offline = true
	var err error
	if r.commit, err = r.cache.commit(r.location); err != nil {
		return err
	}
	r.files["."] = &file{dir: true}
	snapshot := r.cache.snapshot(r.commit)
	return fs.WalkDir(snapshot, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := fs.Stat(snapshot, name)
		if storage.IsAbsent(err) || err == nil && !info.Mode().IsRegular() {
			return nil // a link to a blob that was removed
		}
		if err != nil {
			return err
		}
		r.add(name, &file{size: info.Size()})
		return nil
	})
}

// cache is the directory of a repository in the cache of huggingface_hub.
type cache string

func (o *Options) cacheOf(l location) cache {
	if o.Cache == "" {
		return ""
	}
	return cache(o.Cache + "/models--" + strings.ReplaceAll(l.repo, "/", "--"))
}

// commit returns the commit of a revision that the cache knows.
func (c cache) commit(l location) (string, error) {
	commit := l.revision
	if !commitID.MatchString(commit) {
		content, err := storage.ReadFile(storage.Local(string(c)), path.Join("refs", l.revision), 100)
		if err != nil && !storage.IsAbsent(err) {
			return "", err
		}
		if commit = strings.TrimSpace(string(content)); err != nil || !commitID.MatchString(commit) {
			return "", remote.Errorf(l.address("."), remote.Offline, "the cache does not hold revision %s", l.revision)
		}
	}
	info, err := fs.Stat(c.snapshot(commit), ".")
	if err != nil && !storage.IsAbsent(err) {
		return "", err
	}
	if err != nil || !info.IsDir() {
		return "", remote.Errorf(l.address("."), remote.Offline, "the cache does not hold commit %s", commit)
	}
	return commit, nil
}

func (c cache) snapshot(commit string) fs.FS {
	return storage.Local(string(c) + "/snapshots/" + commit)
}

// open opens a file of a commit if the cache holds it, in full.
func (c cache) open(commit, name string, size int64) (storage.File, bool) {
	if c == "" {
		return nil, false
	}
	f, n, err := storage.Open(c.snapshot(commit), name)
	if err != nil {
		return nil, false
	}
	if n != size {
		f.Close()
		return nil, false
	}
	return f, true
}
