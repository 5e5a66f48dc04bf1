// Package hub reads repositories of the Hugging Face Hub where they are, by the protocol and with the
// settings of Python's huggingface_hub.
//
// Open resolves the revision of a repository to a commit once. All that is read afterwards is of that
// commit. A file that the local cache of huggingface_hub holds is read from there.
//
// Source: huggingface_hub 1.x, hf_api.py, file_download.py and constants.py.
package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/internal/httpfile"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// Options configure how the hub is reached.
type Options struct {
	Settings
	Pool      *remote.Pool      // of the files; never nil
	Transport http.RoundTripper // nil for the default one
}

// Open returns the source and the name of the file or directory at an address,
// hf://ORG/NAME[@REVISION][/PATH]. The source is the whole repository, or the directory at PATH. A
// revision is a branch, a tag or a commit; without one it is the branch main. A slash in a revision is
// written as %2F, but for refs/pr/N and refs/convert/NAME.
//
// A malformed address is a *storage.AddressError. What cannot be read is an *remote.Error.
func Open(address string, o Options) (fs.FS, string, error) {
	at, err := parse(address)
	if err != nil {
		return nil, "", err
	}
	endpoint, err := url.Parse(o.Endpoint)
	if err != nil || endpoint.Host == "" {
		return nil, "", remote.Errorf(address, remote.Invalid, "the endpoint of the hub is not an address")
	}
	if err := httpfile.CheckSecure(endpoint); err != nil {
		return nil, "", err
	}
	authorization := ""
	if o.Token != "" {
		authorization = "Bearer " + o.Token
	}
	r := &repository{location: at, endpoint: endpoint, pool: o.Pool, cache: o.cacheOf(at), files: map[string]*file{},
		client: httpfile.NewClient(httpfile.Options{Context: o.Pool.Context(), Origin: endpoint, Authorization: authorization, Transport: o.Transport, Explain: explain})}
	if o.Offline {
		err = r.openCached()
	} else {
		err = r.resolve()
	}
	if err != nil {
		return nil, "", err
	}
	if f, ok := r.files[at.path]; ok && !f.dir {
		return r, at.path, nil
	}
	if _, ok := r.files[at.path]; !ok && at.path != "." {
		return nil, "", remote.Errorf(address, remote.Missing, "the repository has no file or directory of that name")
	}
	r.root = at.path
	return r, ".", nil
}

// location is an address, taken apart.
type location struct {
	repo     string // ORG/NAME
	revision string
	given    string // @REVISION as it was written, "" for none
	path     string // in the repository, "." for its top
}

var (
	specialRevision = regexp.MustCompile(`^(refs/convert/\w+|refs/pr/\d+)(/|$)`)
	repoName        = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
	commitID        = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// parse takes an address apart.
func parse(address string) (location, error) {
	bad := func(problem string) (location, error) {
		return location{}, storage.MalformedAddress(address, problem+"; an address is hf://ORG/NAME[@REVISION][/PATH]")
	}
	rest := strings.Trim(strings.TrimPrefix(address, "hf://"), "/")
	if kind, _, _ := strings.Cut(rest, "/"); kind == "datasets" || kind == "spaces" || kind == "buckets" {
		return bad("only repositories of models are read")
	}
	org, rest, ok := strings.Cut(strings.TrimPrefix(rest, "models/"), "/")
	if !ok {
		return bad("the address has no name of a repository")
	}
	l := location{revision: "main", path: "."}
	name, below, _ := strings.Cut(rest, "/")
	if at := strings.Index(rest, "@"); at >= 0 && at < len(name) {
		name, rest = rest[:at], rest[at+1:]
		l.given, below, _ = strings.Cut(rest, "/")
		if special := specialRevision.FindStringSubmatch(rest); special != nil {
			l.given, below = special[1], strings.TrimPrefix(rest[len(special[1]):], "/")
		}
		revision, err := url.PathUnescape(l.given)
		if err != nil || revision == "" {
			return bad("the revision is not well formed")
		}
		l.revision, l.given = revision, "@"+l.given
	}
	if l.repo = org + "/" + name; !repoName.MatchString(l.repo) || strings.Contains(l.repo, "..") {
		return bad("the name of the repository is not well formed")
	}
	if below != "" {
		l.path = below
	}
	if !fs.ValidPath(l.path) {
		return bad("the path is not well formed")
	}
	return l, nil
}

// address returns the address of a path in the repository as the user would write it.
func (l location) address(name string) string {
	return strings.TrimSuffix("hf://"+l.repo+l.given+"/"+name, "/.")
}

// escaped returns a revision or path for use in a URL. Slashes of revisions are escaped as
// huggingface_hub does.
func escapedRevision(revision string) string {
	if specialRevision.MatchString(revision) {
		return revision
	}
	return url.PathEscape(revision)
}

// url returns a URL below the endpoint. Its parts are escaped already.
func (r *repository) url(parts ...string) (*url.URL, error) {
	return url.Parse(strings.TrimSuffix(r.endpoint.String(), "/") + "/" + strings.Join(parts, "/"))
}

// resolve asks the hub for the commit of the revision and for the files of the commit.
func (r *repository) resolve() error {
	r.commit = r.revision
	if !commitID.MatchString(r.commit) {
		var info struct {
			SHA string `json:"sha"`
		}
		if _, err := r.get(&info, "api/models", r.repo, "revision", escapedRevision(r.revision)+"?expand=sha"); err != nil {
			return err
		}
		if !commitID.MatchString(info.SHA) {
			return remote.Errorf(r.address("."), remote.Invalid, "the hub does not say which commit the revision is")
		}
		r.commit = info.SHA
	}
	return r.list()
}

// treeEntry is a file or directory in the hub's listing.
type treeEntry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// mostPages bounds the pages of a listing, of 1000 files each.
const mostPages = 1000

// list reads the names and sizes of all files.
func (r *repository) list() error {
	r.files["."] = &file{dir: true}
	next := []string{"api/models", r.repo, "tree", r.commit + "?recursive=true&expand=false"}
	for range mostPages {
		var page []treeEntry
		header, err := r.get(&page, next...)
		if err != nil {
			return err
		}
		for _, e := range page {
			if fs.ValidPath(e.Path) && e.Path != "." && e.Size >= 0 {
				r.add(e.Path, &file{dir: e.Type == "directory", size: e.Size})
			}
		}
		link, ok := nextPage(header.Get("Link"), r.endpoint)
		if !ok {
			return nil
		}
		next = []string{link}
	}
	return remote.Errorf(r.address("."), remote.Invalid, "the repository has too many files")
}

// add records a file and the directories above it.
func (r *repository) add(name string, f *file) {
	r.files[name] = f
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		r.files[dir] = &file{dir: true}
	}
}

var linkNext = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="?next"?`)

// nextPage returns what follows the endpoint in the address of the next page of a listing.
func nextPage(link string, endpoint *url.URL) (string, bool) {
	found := linkNext.FindStringSubmatch(link)
	if found == nil {
		return "", false
	}
	u, err := endpoint.Parse(found[1])
	if err != nil || u.Host != endpoint.Host {
		return "", false
	}
	below, ok := strings.CutPrefix(u.RequestURI(), strings.TrimSuffix(endpoint.Path, "/")+"/")
	return below, ok
}

// mostJSON bounds an answer of the hub's API, in bytes.
const mostJSON = 32 << 20

// get reads a JSON answer of the hub's API.
func (r *repository) get(to any, parts ...string) (header http.Header, err error) {
	u, err := r.url(parts...)
	if err != nil {
		return nil, remote.Errorf(r.address("."), remote.Invalid, "not a usable address")
	}
	err = r.pool.Retry(r.address("."), func(ctx context.Context) error {
		resp, _, err := r.client.Do(ctx, http.MethodGet, u, nil, "")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		header = resp.Header
		err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, mostJSON)).Decode(to)
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		if errors.As(err, &syntax) || errors.As(err, &kind) {
			return remote.Errorf(r.address("."), remote.Invalid, "the hub's answer is not the JSON of its API")
		}
		return err
	})
	var e *remote.Error
	if errors.As(err, &e) {
		e.Address = r.address(".")
	}
	return header, err
}

// explain words the hub's own errors.
func explain(resp *http.Response) *remote.Error {
	switch code := resp.Header.Get("X-Error-Code"); {
	case code == "GatedRepo":
		return remote.Errorf("", remote.Gated, "access to the repository has to be granted by its owner")
	case code == "RepoNotFound", code == "" && resp.StatusCode == http.StatusUnauthorized:
		return remote.Errorf("", remote.Unauthorized, "there is no such repository, or it is private and the token does not give access")
	case code == "RevisionNotFound":
		return remote.Errorf("", remote.Missing, "the repository has no such revision")
	case code == "EntryNotFound":
		return remote.Errorf("", remote.Missing, "the repository has no such file")
	}
	return nil
}
