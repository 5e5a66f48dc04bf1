package storagetest

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Hub stands in for the Hugging Face Hub: the parts of its API that list and read repositories of
// models. Large files are on another host, as the real hub has them. The interop check hub.py holds it
// to what huggingface_hub expects.
type Hub struct {
	Token string // that private and gated repositories want
	LFS   int    // size from which files are on the other host

	mu       sync.Mutex
	repos    map[string]*Repo
	storage  string   // address of the other host
	seen     []string // what happened, for tests: "METHOD HOST PATH AUTHORIZATION"
	pageSize int
}

// Repo is a repository.
type Repo struct {
	Private, Gated bool
	Refs           map[string]string            // commits by branch, tag or other reference
	Commits        map[string]map[string][]byte // contents by path, by commit
}

// NewHub returns a hub without repositories.
func NewHub() *Hub {
	return &Hub{Token: "hf_secret", LFS: 1 << 10, repos: map[string]*Repo{}, pageSize: 3}
}

// Add adds a repository whose branch main has the contents, and returns it with its commit.
func (h *Hub) Add(name string, contents map[string][]byte) (*Repo, string) {
	r := &Repo{Refs: map[string]string{}, Commits: map[string]map[string][]byte{}}
	h.mu.Lock()
	h.repos[name] = r
	h.mu.Unlock()
	return r, h.Commit(r, "main", contents)
}

// Commit makes a reference of a repository point to contents and returns the commit.
func (h *Hub) Commit(r *Repo, ref string, contents map[string][]byte) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := sha1.New()
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(contents[name]))
	}
	commit := fmt.Sprintf("%x", sum.Sum(nil))
	r.Refs[ref], r.Commits[commit] = commit, contents
	return commit
}

// Start runs the hub and its other host until the test ends and returns the hub's address.
func (h *Hub) Start(t testing.TB) string {
	other := httptest.NewServer(h.Storage())
	hub := httptest.NewServer(h)
	t.Cleanup(other.Close)
	t.Cleanup(hub.Close)
	h.UseStorage(other.URL)
	return hub.URL
}

// UseStorage sets the address of the other host.
func (h *Hub) UseStorage(address string) { h.storage = address }

// Seen returns what was asked for so far: method, host, path and authorization of each request.
func (h *Hub) Seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen)
}

func (h *Hub) record(host string, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = append(h.seen, strings.Join([]string{r.Method, host, r.URL.Path, r.Header.Get("Authorization")}, " "))
}

// Storage returns the handler of the other host, which wants no token but a signature in the address.
func (h *Hub) Storage() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.record("storage", r)
		if r.Header.Get("Authorization") != "" || r.URL.Query().Get("signature") != "valid" {
			http.Error(w, "only one way of authentication is allowed", http.StatusBadRequest)
			return
		}
		oid := path.Base(r.URL.Path)
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, repo := range h.repos {
			for _, files := range repo.Commits {
				for _, content := range files {
					if fmt.Sprintf("%x", sha256.Sum256(content)) == oid {
						w.Header().Set("Access-Control-Allow-Origin", "*")
						serve(w, r, oid, content)
						return
					}
				}
			}
		}
		http.NotFound(w, r)
	})
}

func serve(w http.ResponseWriter, r *http.Request, oid string, content []byte) {
	files := NewFiles(map[string][]byte{strings.TrimPrefix(r.URL.Path, "/"): content})
	files.ServeHTTP(w, r)
}

func (h *Hub) fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", message)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": message})
}

// ServeHTTP implements http.Handler.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.record("hub", r)
	full := r.URL.EscapedPath()
	parts := strings.Split(strings.TrimPrefix(full, "/"), "/")
	api := strings.HasPrefix(full, "/api/models/")
	if api {
		parts = parts[2:]
	}
	if len(parts) < 2 {
		http.NotFound(w, r)
		return
	}
	h.mu.Lock()
	repo := h.repos[parts[0]+"/"+parts[1]]
	h.mu.Unlock()
	authorized := r.Header.Get("Authorization") == "Bearer "+h.Token
	switch {
	case repo == nil || repo.Private && !authorized:
		status := http.StatusNotFound
		if !authorized {
			status = http.StatusUnauthorized
		}
		h.fail(w, status, "RepoNotFound", "Repository not found")
		return
	case api && len(parts) == 2:
		h.info(w, parts[0]+"/"+parts[1], repo, "main")
		return
	case len(parts) < 4:
		http.NotFound(w, r)
		return
	}
	revision, rest := splitRevision(parts[3:])
	commit, files := repo.find(revision)
	if files == nil {
		h.fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return
	}
	switch verb := parts[2]; {
	case api && verb == "revision":
		h.info(w, parts[0]+"/"+parts[1], repo, revision)
	case api && verb == "tree":
		h.tree(w, r, files, rest)
	case api && verb == "paths-info":
		h.pathsInfo(w, r, files)
	case !api && verb == "resolve":
		if repo.Gated && !authorized {
			h.fail(w, http.StatusUnauthorized, "GatedRepo", "Access to model is restricted")
			return
		}
		h.resolve(w, r, commit, files, rest)
	default:
		http.NotFound(w, r)
	}
}

// splitRevision divides escaped elements into a revision and a path.
func splitRevision(parts []string) (revision, rest string) {
	n := 1
	if len(parts) >= 3 && parts[0] == "refs" && (parts[1] == "pr" || parts[1] == "convert") {
		n = 3
	}
	revision, _ = url.PathUnescape(strings.Join(parts[:n], "/"))
	rest, _ = url.PathUnescape(strings.Join(parts[n:], "/"))
	return revision, rest
}

func (r *Repo) find(revision string) (commit string, files map[string][]byte) {
	if c, ok := r.Refs[revision]; ok {
		revision = c
	}
	return revision, r.Commits[revision]
}

func (h *Hub) info(w http.ResponseWriter, name string, repo *Repo, revision string) {
	commit, files := repo.find(revision)
	var siblings []map[string]string
	for _, file := range slices.Sorted(maps.Keys(files)) {
		siblings = append(siblings, map[string]string{"rfilename": file})
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"_id": "1", "id": name, "modelId": name, "sha": commit, "private": repo.Private, "gated": false,
		"disabled": false, "tags": []string{}, "downloads": 0, "likes": 0, "siblings": siblings})
}

// entry describes a file as the hub does.
func (h *Hub) entry(name string, content []byte) map[string]any {
	blob := sha1.Sum(append([]byte(fmt.Sprintf("blob %d\x00", len(content))), content...))
	e := map[string]any{"type": "file", "oid": fmt.Sprintf("%x", blob), "size": len(content), "path": name}
	if len(content) >= h.LFS {
		e["lfs"] = map[string]any{"oid": fmt.Sprintf("%x", sha256.Sum256(content)), "size": len(content), "pointerSize": 130}
	}
	return e
}

// tree lists files, a few on each page.
func (h *Hub) tree(w http.ResponseWriter, r *http.Request, files map[string][]byte, below string) {
	recursive := strings.EqualFold(r.URL.Query().Get("recursive"), "true")
	var all []map[string]any
	dirs := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		rest, in := name, true
		if below != "" {
			rest, in = strings.CutPrefix(name, below+"/")
		}
		if !in {
			continue
		}
		elements := strings.Split(rest, "/")
		for n := 1; n < len(elements); n++ {
			dir := path.Join(below, strings.Join(elements[:n], "/"))
			if !dirs[dir] && (n == 1 || recursive) {
				all = append(all, map[string]any{"type": "directory", "oid": fmt.Sprintf("%x", sha1.Sum([]byte(dir))), "size": 0, "path": dir})
			}
			dirs[dir] = true
		}
		if len(elements) == 1 || recursive {
			all = append(all, h.entry(name, files[name]))
		}
	}
	if below != "" && len(all) == 0 {
		h.fail(w, http.StatusNotFound, "EntryNotFound", "does not exist")
		return
	}
	first := 0
	fmt.Sscan(r.URL.Query().Get("cursor"), &first)
	first = min(first, len(all))
	end := min(first+h.pageSize, len(all))
	if end < len(all) {
		q := r.URL.Query()
		q.Set("cursor", fmt.Sprint(end))
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?%s>; rel="next"`, r.Host, r.URL.EscapedPath(), q.Encode()))
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(append([]map[string]any{}, all[first:end]...))
}

// pathsInfo describes the paths that a form names.
func (h *Hub) pathsInfo(w http.ResponseWriter, r *http.Request, files map[string][]byte) {
	var body struct{ Paths []string }
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		json.NewDecoder(r.Body).Decode(&body)
	} else if r.ParseForm() == nil {
		body.Paths = r.PostForm["paths"]
	}
	found := []map[string]any{}
	for _, name := range body.Paths {
		if content, ok := files[name]; ok {
			found = append(found, h.entry(name, content))
			continue
		}
		for file := range files {
			if strings.HasPrefix(file, name+"/") {
				found = append(found, map[string]any{"type": "directory", "oid": fmt.Sprintf("%x", sha1.Sum([]byte(name))), "size": 0, "path": name})
				break
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(found)
}

// resolve sends a file, or redirects to the other host.
func (h *Hub) resolve(w http.ResponseWriter, r *http.Request, commit string, files map[string][]byte, name string) {
	content, ok := files[name]
	w.Header().Set("X-Repo-Commit", commit)
	if !ok {
		h.fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	oid := fmt.Sprintf("%x", sha256.Sum256(content))
	if len(content) < h.LFS {
		serve(w, r, oid, content)
		return
	}
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(content)))
	w.Header().Set("X-Linked-Etag", `"`+oid+`"`)
	w.Header().Set("Location", h.storage+"/"+oid+"?signature=valid")
	w.WriteHeader(http.StatusFound)
}
