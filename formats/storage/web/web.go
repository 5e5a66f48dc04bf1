// Package web reads files of web servers, in ranges. Open takes an https:// address of a file or of a
// directory. http:// is for servers on this machine.
//
// The protocol has no way to list a directory, so that a directory shows the files that checkpoints
// are known to have; an index or a manifest among them leads to the others.
package web

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/internal/httpfile"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// Options configure how a server is reached.
type Options struct {
	Pool      *remote.Pool      // of the files; never nil
	Transport http.RoundTripper // nil for the default one
}

// Open returns the source and the name of the file or directory at an address. User and password in
// the address are sent to its server only; they and the query appear in no error and no path.
//
// A malformed address is a *storage.AddressError. What cannot be read is an *remote.Error.
func Open(address string, o Options) (fs.FS, string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, "", storage.MalformedAddress(address, "is not well formed")
	}
	if u.Hostname() == "" {
		return nil, "", storage.MalformedAddress(address, "has no host; an address is https://HOST/PATH")
	}
	if err := httpfile.CheckSecure(u); err != nil {
		return nil, "", err
	}
	s := newSite(u, o)
	if strings.HasSuffix(u.Path, "/") || u.Path == "" {
		return s, ".", s.explore()
	}
	name := path.Base(u.Path)
	s.base.Path, s.base.RawPath = path.Dir(u.Path), ""
	s.base.RawQuery = ""
	for _, other := range []string{beside, name + "." + beside} {
		task.Start(func() error { return s.look(other, nil).err })
	}
	_, err = s.node(name, u)
	if err == nil {
		return s, name, nil
	}
	var e *remote.Error
	if errors.As(err, &e) && (e.Reason == remote.Missing || e.Reason == remote.Forbidden) {
		whole := newSite(u, o)
		if whole.explore() == nil {
			return whole, ".", nil
		}
	}
	return nil, "", err
}

// beside is the name of a file that is looked for beside that of a checkpoint, also with the name of the latter in front. Both are asked
// for together with it.
const beside = "conversion.json"

// site is a directory of a web server.
type site struct {
	pool   *remote.Pool
	client *httpfile.Client
	base   *url.URL // of the directory

	failures remote.Failures

	mu      sync.Mutex
	files   map[string]*file
	missing bool  // the server has said of a file that it does not exist
	denied  error // the first file that it forbids, except hidden ones
}

// file is what is known of a name.
type file struct {
	once   sync.Once
	node   *remote.Node
	object *httpfile.Object
	err    error
}

func newSite(u *url.URL, o Options) *site {
	base := *u
	base.User, base.Fragment = nil, ""
	return &site{pool: o.Pool, base: &base, files: map[string]*file{},
		client: httpfile.NewClient(httpfile.Options{Context: o.Pool.Context(), Origin: u, Authorization: basic(u.User), Transport: o.Transport})}
}

// basic returns the header for a user and password, "" for none.
func basic(user *url.Userinfo) string {
	if user == nil {
		return ""
	}
	password, _ := user.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
}

// url returns the URL of a file.
func (s *site) url(name string) *url.URL {
	u := *s.base
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+"/"+name, ""
	return &u
}

// node returns the file of a name, and nil if there is none. The server is asked once. at, if not nil, is the URL of the file.
func (s *site) node(name string, at *url.URL) (*remote.Node, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, fs.ErrInvalid
	}
	f := s.look(name, at)
	s.record(name, f.err)
	return f.node, f.err
}

// look asks the server for a file, once. at is as for node.
func (s *site) look(name string, at *url.URL) *file {
	s.mu.Lock()
	f := s.files[name]
	if f == nil {
		f = &file{}
		s.files[name] = f
	}
	s.mu.Unlock()
	f.once.Do(func() {
		if at == nil {
			at = s.url(name)
		}
		f.err = s.pool.Retry(httpfile.Address(at), func(ctx context.Context) error {
			object, head, err := httpfile.Open(ctx, s.client, at)
			if err == nil {
				n := s.pool.NewNode(httpfile.Address(at), object.Size(), object, head)
				s.mu.Lock()
				defer s.mu.Unlock()
				f.object, f.node = object, n
			}
			return err
		})
	})
	return f
}

// record keeps what the answer about a file says about others.
func (s *site) record(name string, err error) {
	if !errors.Is(err, fs.ErrPermission) {
		s.failures.Check(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.missing = true
	case errors.Is(err, fs.ErrPermission) && !strings.HasPrefix(path.Base(name), "."): // some servers forbid all hidden files
		s.denied = cmp.Or(s.denied, err)
	}
}

// Failure is for storage.Failure. Some servers, such as S3, forbid what they do not have. Of a server that says of other files that
// they do not exist, a file that it forbids may exist.
func (s *site) Failure() error {
	if err := s.failures.Failure(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missing {
		return s.denied
	}
	return nil
}

// Open implements fs.FS.
func (s *site) Open(name string) (fs.File, error) {
	n, err := s.node(name, nil)
	if err != nil {
		return nil, pathError("open", s.Path(name), err)
	}
	return n.Open(name), nil
}

// Stat implements fs.StatFS. A directory is a name under which a file was found.
func (s *site) Stat(name string) (fs.FileInfo, error) {
	if s.isDirectory(name) {
		return remote.Directory(name), nil
	}
	n, err := s.node(name, nil)
	if err != nil {
		return nil, pathError("stat", s.Path(name), err)
	}
	return n.Info(name), nil
}

func (s *site) isDirectory(name string) bool {
	if name == "." {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, f := range s.files {
		if strings.HasPrefix(other, name+"/") && f.node != nil {
			return true
		}
	}
	return false
}

// knownNames are files that lead to a checkpoint or belong beside one.
var knownNames = []string{
	"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "flax_model.msgpack",
	"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin",
	"_METADATA", "_CHECKPOINT_METADATA", "_sharding", "manifest.ocdbt", "checkpoint", ".zarray", "zarr.json", "orbax.checkpoint", ".metadata",
	"config.json", "generation_config.json", "conversion.json",
	"tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
	"README.md", "LICENSE", "NOTICE",
}

// knownItems are names that Orbax gives to the items of a checkpoint.
var knownItems = []string{"default", "params", "state", "model", "model_params"}

// ReadDir implements fs.ReadDirFS. It lists the known files that exist.
func (s *site) ReadDir(dir string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(dir) {
		return nil, pathError("readdir", dir, fs.ErrInvalid)
	}
	names := slices.Clone(knownNames)
	if dir == "." {
		for _, item := range knownItems {
			names = append(names, item+"/_METADATA", item+"/manifest.ocdbt")
		}
	}
	var group task.Group
	group.SetLimit(remote.DefaultInFlight)
	for _, name := range names {
		group.Go(func() error {
			_, err := s.node(path.Join(dir, name), nil)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil // some servers, such as S3, forbid what they do not have
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, pathError("readdir", s.Path(dir), err)
	}
	return s.entries(dir), nil
}

// entries returns what was found in a directory.
func (s *site) entries(dir string) []fs.DirEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]fs.DirEntry{}
	for name, f := range s.files {
		rest, in := strings.CutPrefix(name, dir+"/")
		if dir == "." {
			rest, in = name, true
		}
		if !in || f.node == nil {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		if deeper {
			found[first] = fs.FileInfoToDirEntry(remote.Directory(first))
		} else {
			found[first] = fs.FileInfoToDirEntry(f.node.Info(first))
		}
	}
	var entries []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(found)) {
		entries = append(entries, found[name])
	}
	return entries
}

// explore returns an error if nothing known is at the address.
func (s *site) explore() error {
	entries, err := s.ReadDir(".")
	if err == nil && len(entries) == 0 {
		err = remote.Errorf(httpfile.Address(s.base), remote.Missing, "has no file that checkpoints have; a directory of a web server cannot be listed")
	}
	return err
}

// Path returns the address of a file without credentials.
func (s *site) Path(name string) string {
	if name == "." {
		return httpfile.Address(s.base)
	}
	return httpfile.Address(s.url(name))
}

// Memory is for storage.Memory.
func (s *site) Memory() int64 { return s.pool.Memory() }

// Origin is for storage.OriginOf.
func (s *site) Origin(name string) storage.Origin {
	o := storage.Origin{Address: s.Path(name)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for each, f := range s.files {
		if below, ok := storage.Below(name, each); ok && f.node != nil {
			o.Files = append(o.Files, storage.FileVersion{Name: below, Version: f.object.Version()})
		}
	}
	return o.Sorted()
}

// pathError names the operation and the file in errors that do not name it.
func pathError(op, name string, err error) error {
	if errors.As(err, new(*remote.Error)) {
		return err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
