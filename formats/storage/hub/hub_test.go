package hub_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/hub"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
)

var large = bytes.Repeat([]byte("weights "), 10_000)

func contents() map[string][]byte {
	return map[string][]byte{"config.json": []byte(`{"a": 1}`), "model.safetensors": large, "sub/dir/a b%.bin": []byte("odd name"),
		"sub/other": []byte("other"), "README.md": []byte("read")}
}

func options(t *testing.T, endpoint string) hub.Options {
	return hub.Options{Settings: hub.Settings{Endpoint: endpoint, Cache: t.TempDir()},
		Pool: remote.NewPool(t.Context(), remote.Options{Backoff: time.Microsecond, Attempts: 3, Stall: time.Second})}
}

// malformed stands for a *storage.AddressError.
const malformed remote.Reason = "malformed"

func reasonOf(err error) remote.Reason {
	var e *remote.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	if errors.As(err, new(*storage.AddressError)) {
		return malformed
	}
	return ""
}

// All ways to write an address lead to the right file of the right commit.
func TestOpen(t *testing.T) {
	h := storagetest.NewHub()
	repo, first := h.Add("org/model", contents())
	older := contents()
	older["config.json"] = []byte("older")
	for _, ref := range []string{"v1.0", "a/branch", "refs/pr/7", "refs/convert/parquet"} {
		h.Commit(repo, ref, older)
	}
	endpoint := h.Start(t)
	for address, want := range map[string]struct{ name, first, path string }{
		"hf://org/model":                       {".", `{"a": 1}`, "hf://org/model/config.json"},
		"hf://org/model/":                      {".", `{"a": 1}`, "hf://org/model/config.json"},
		"hf://models/org/model":                {".", `{"a": 1}`, "hf://org/model/config.json"},
		"hf://org/model@main":                  {".", `{"a": 1}`, "hf://org/model@main/config.json"},
		"hf://org/model@" + first:              {".", `{"a": 1}`, "hf://org/model@" + first + "/config.json"},
		"hf://org/model@v1.0":                  {".", "older", "hf://org/model@v1.0/config.json"},
		"hf://org/model@a%2Fbranch":            {".", "older", "hf://org/model@a%2Fbranch/config.json"},
		"hf://org/model@refs%2Fpr%2F7":         {".", "older", "hf://org/model@refs%2Fpr%2F7/config.json"},
		"hf://org/model@refs/pr/7":             {".", "older", "hf://org/model@refs/pr/7/config.json"},
		"hf://org/model@refs/pr/7/config.json": {"config.json", "older", "hf://org/model@refs/pr/7/config.json"},
		"hf://org/model@refs/convert/parquet":  {".", "older", "hf://org/model@refs/convert/parquet/config.json"},
		"hf://org/model/config.json":           {"config.json", `{"a": 1}`, "hf://org/model/config.json"},
		"hf://org/model@v1.0/sub/dir":          {".", "", "hf://org/model@v1.0/sub/dir/config.json"},
		"hf://org/model/sub/dir/a b%.bin":      {"sub/dir/a b%.bin", `{"a": 1}`, "hf://org/model/config.json"},
	} {
		source, name, err := hub.Open(address, options(t, endpoint))
		if err != nil || name != want.name {
			t.Errorf("%s: %q, %v", address, name, err)
			continue
		}
		if got := storage.Path(source, "config.json"); got != want.path {
			t.Errorf("%s: config.json is called %s", address, got)
		}
		if want.first == "" {
			continue
		}
		if got, err := storage.ReadFile(source, "config.json", 100); err != nil || string(got) != want.first {
			t.Errorf("%s: config.json is %q, %v", address, got, err)
		}
		for file, content := range map[string][]byte{"model.safetensors": large, "sub/dir/a b%.bin": []byte("odd name")} {
			if got, err := storage.ReadFile(source, file, 1<<20); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s: %s has %d bytes, %v", address, file, len(got), err)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	h := storagetest.NewHub()
	h.Add("org/model", contents())
	private, _ := h.Add("org/private", contents())
	private.Private = true
	gated, _ := h.Add("org/gated", contents())
	gated.Gated = true
	endpoint := h.Start(t)
	for address, want := range map[string]remote.Reason{
		"hf://org/absent":                       remote.Unauthorized, // the hub does not tell whether it exists
		"hf://org/private":                      remote.Unauthorized,
		"hf://org/gated/config.json":            remote.Gated,
		"hf://org/model@absent":                 remote.Missing,
		"hf://org/model/absent":                 remote.Missing,
		"hf://org":                              malformed,
		"hf://org/mo del":                       malformed,
		"hf://org/model/../x":                   malformed,
		"hf://org/model@":                       malformed,
		"hf://org/..":                           malformed,
		"hf://datasets/org/model":               malformed,
		"hf://org/model@%zz":                    malformed,
		"hf://org/model@main/sub/dir/../config": malformed,
	} {
		source, name, err := hub.Open(address, options(t, endpoint))
		if err == nil {
			_, err = storage.ReadFile(source, name, 100)
		}
		if reasonOf(err) != want || !strings.HasPrefix(err.Error(), address) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	for _, bad := range []string{"http://hub.example.org", "ftp://hub", ""} {
		if _, _, err := hub.Open("hf://org/model", options(t, bad)); reasonOf(err) == "" {
			t.Errorf("endpoint %q: %v", bad, err)
		}
	}
}

// The token opens private repositories. The other host, which has the large files, does not see it, and
// no error shows it.
func TestToken(t *testing.T) {
	h := storagetest.NewHub()
	repo, commit := h.Add("org/private", contents())
	repo.Private, repo.Gated = true, true
	o := options(t, h.Start(t))
	o.Token = h.Token
	source, _, err := hub.Open("hf://org/private", o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := storage.ReadFile(source, "model.safetensors", 1<<20); err != nil || !bytes.Equal(got, large) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	fromStorage := 0
	for _, seen := range h.Seen() {
		if strings.Contains(seen, " storage ") {
			fromStorage++
			if strings.Contains(seen, h.Token) {
				t.Errorf("the token went to the other host: %s", seen)
			}
		} else if !strings.HasSuffix(seen, "Bearer "+h.Token) {
			t.Errorf("without token: %s", seen)
		}
	}
	if fromStorage < 2 {
		t.Errorf("%d requests to the other host", fromStorage)
	}
	if got := storage.OriginOf(source, "model.safetensors"); got.Address != "hf://org/private/model.safetensors" || got.Commit != commit {
		t.Errorf("origin %+v", got)
	}
	repo.Private = false
	delete(repo.Commits, commit)
	if _, _, err := hub.Open("hf://org/private", o); err == nil || strings.Contains(err.Error(), h.Token) {
		t.Errorf("error %v", err)
	}
}

// A source stays at its commit when the branch moves on.
func TestPinned(t *testing.T) {
	h := storagetest.NewHub()
	repo, first := h.Add("org/model", contents())
	source, _, err := hub.Open("hf://org/model", options(t, h.Start(t)))
	if err != nil {
		t.Fatal(err)
	}
	newer := contents()
	newer["config.json"] = []byte(`{"b": 2}`)
	h.Commit(repo, "main", newer)
	if got, err := storage.ReadFile(source, "config.json", 100); err != nil || string(got) != `{"a": 1}` {
		t.Errorf("after a commit: %q, %v", got, err)
	}
	if got := storage.OriginOf(source, ".").Commit; got != first {
		t.Errorf("commit %s, want %s", got, first)
	}
	if len(h.Seen()) > 8 { // revision, three pages, file
		t.Errorf("%d requests: %q", len(h.Seen()), h.Seen())
	}
}

// writeCache makes the files that huggingface_hub keeps of a commit.
func writeCache(t *testing.T, cache, commit string, files map[string][]byte) {
	t.Helper()
	repo := filepath.Join(cache, "models--org--model")
	write := func(name string, content []byte) {
		path := filepath.Join(repo, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("refs/main", []byte(commit))
	for name, content := range files {
		blob := strings.ReplaceAll(name, "/", "_")
		write("blobs/"+blob, content)
		link := filepath.Join(repo, "snapshots", commit, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(repo, "blobs", blob), link); err != nil {
			t.Skip(err)
		}
	}
}

// Files that the cache holds in full are read from there, and offline nothing else is.
func TestCache(t *testing.T) {
	h := storagetest.NewHub()
	_, commit := h.Add("org/model", contents())
	o := options(t, h.Start(t))
	writeCache(t, o.Cache, commit, map[string][]byte{"model.safetensors": large, "config.json": []byte("cut"), "sub/other": []byte("other")})
	source, _, err := hub.Open("hf://org/model", o)
	if err != nil {
		t.Fatal(err)
	}
	requests := len(h.Seen())
	if got, err := storage.ReadFile(source, "model.safetensors", 1<<20); err != nil || !bytes.Equal(got, large) || len(h.Seen()) != requests {
		t.Errorf("a cached file: %d bytes, %v, %d requests", len(got), err, len(h.Seen())-requests)
	}
	if got, err := storage.ReadFile(source, "config.json", 100); err != nil || string(got) != `{"a": 1}` {
		t.Errorf("a file that the cache has in part: %q, %v", got, err)
	}

	o.Offline = true
	requests = len(h.Seen())
	if source, _, err = hub.Open("hf://org/model", o); err != nil {
		t.Fatal(err)
	}
	if got, err := storage.ReadFile(source, "model.safetensors", 1<<20); err != nil || !bytes.Equal(got, large) {
		t.Errorf("offline: %d bytes, %v", len(got), err)
	}
	if entries, err := fs.ReadDir(source, "."); err != nil || len(entries) != 3 {
		t.Errorf("offline: %v, %v", entries, err)
	}
	if _, err := storage.ReadFile(source, "README.md", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("offline, a file that is not there: %v", err)
	}
	for _, address := range []string{"hf://org/model@v2", "hf://org/other", "hf://org/model@" + strings.Repeat("0", 40)} {
		if _, _, err := hub.Open(address, o); reasonOf(err) != remote.Offline {
			t.Errorf("offline, %s: %v", address, err)
		}
	}
	if len(h.Seen()) != requests {
		t.Errorf("offline, but %q", h.Seen()[requests:])
	}
}

// A file of another size than the hub announces with its redirect is refused.
func TestLinkedSize(t *testing.T) {
	for _, announced := range []int{len(large), len(large) + 1} {
		h := storagetest.NewHub()
		h.Add("org/model", contents())
		h.Start(t)
		endpoint := storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&announcing{w, strconv.Itoa(announced)}, r)
		}))
		source, _, err := hub.Open("hf://org/model", options(t, endpoint))
		if err != nil {
			t.Fatal(err)
		}
		want := remote.Reason("")
		if announced != len(large) {
			want = remote.Invalid
		}
		if got, err := storage.ReadFile(source, "model.safetensors", 1<<20); reasonOf(err) != want || want == "" && !bytes.Equal(got, large) {
			t.Errorf("%d bytes announced: %d bytes, %v", announced, len(got), err)
		}
	}
}

// announcing replaces the size that is announced with a redirect.
type announcing struct {
	http.ResponseWriter
	size string
}

func (a *announcing) WriteHeader(status int) {
	if a.Header().Get("X-Linked-Size") != "" {
		a.Header().Set("X-Linked-Size", a.size)
	}
	a.ResponseWriter.WriteHeader(status)
}
