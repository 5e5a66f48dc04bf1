package web_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
	"github.com/griffin-ckpt/griffin/formats/storage/web"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

func options(t *testing.T) web.Options { return optionsFor(t, storagetest.None) }

// optionsFor are options for a fault. A machine that is busy is silent for long, so that only the fault
// that is silence has a short limit.
func optionsFor(t *testing.T, fault storagetest.Fault) web.Options {
	stall := 20 * time.Second
	if fault == storagetest.Stall {
		stall = 200 * time.Millisecond
	}
	return web.Options{Pool: remote.NewPool(t.Context(), remote.Options{Backoff: time.Microsecond, Attempts: 4, Stall: stall})}
}

func content(size int) []byte {
	p := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// read opens an address and reads the file.
func read(address string, o web.Options) ([]byte, error) {
	source, name, err := web.Open(address, o)
	if err != nil {
		return nil, err
	}
	f, size, err := storage.Open(source, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := make([]byte, size)
	_, err = f.ReadAt(p, 0)
	return p, err
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

// A host that does not exist is an error at once: nothing is tried again.
func TestMissingHost(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() { // answers every question with NXDOMAIN
		for p := make([]byte, 512); ; {
			n, from, err := server.ReadFrom(p)
			if err != nil {
				return
			}
			p[2], p[3] = 0x81, 0x83
			p[10], p[11] = 0, 0 // no additional records
			end := 12 + bytes.IndexByte(p[12:n], 0) + 5
			server.WriteTo(p[:end], from)
		}
	}()
	before := net.DefaultResolver
	defer func() { net.DefaultResolver = before }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	var retries atomic.Int32
	o := web.Options{Pool: remote.NewPool(t.Context(), remote.Options{Backoff: time.Microsecond, Retrying: func(error, time.Duration) { retries.Add(1) }})}
	_, err = read("https://nowhere.example/model.pt", o)
	if reasonOf(err) != remote.NoHost || err.Error() != "https://nowhere.example/model.pt: there is no host nowhere.example" || retries.Load() > 0 {
		t.Errorf("%v, tried again %d times", err, retries.Load())
	}
}

// Whatever is wrong with the answers to some of the requests, what is read is right or an error.
func TestFaults(t *testing.T) {
	all := content(5 << 20)
	// always: what happens if every answer from the third on is wrong. once: what may happen if only the
	// third is; it does not matter if that was fetched ahead.
	for name, tt := range map[string]struct {
		fault        storagetest.Fault
		once, always remote.Reason
	}{
		"dropped":              {storagetest.Drop, "", ""}, // each answer brings the half of what is left
		"refused":              {storagetest.Refuse, "", remote.Unreachable},
		"stalled":              {storagetest.Stall, "", ""},
		"429":                  {storagetest.Busy, "", remote.Busy},
		"429 for an hour":      {storagetest.BusyLong, remote.Busy, remote.Busy},
		"503":                  {storagetest.Failing, "", remote.Failing},
		"401":                  {storagetest.Unauthorized, remote.Unauthorized, remote.Unauthorized},
		"403":                  {storagetest.Forbidden, remote.Forbidden, remote.Forbidden},
		"shorter range":        {storagetest.Short, "", ""},
		"another range":        {storagetest.Shifted, remote.Invalid, remote.Invalid},
		"length that lies":     {storagetest.Lying, "", ""},
		"file that grew":       {storagetest.Grown, remote.Changed, remote.Changed},
		"file that was stored": {storagetest.Renamed, remote.Changed, remote.Changed},
		"whole file":           {storagetest.Whole, remote.NoRanges, remote.NoRanges},
	} {
		for _, always := range []bool{false, true} {
			files := storagetest.NewFiles(map[string][]byte{"dir/model.bin": all})
			var mu sync.Mutex
			requests := 0
			address := storagetest.Start(t, &storagetest.Faulty{Handler: files, Fault: func(r *http.Request) storagetest.Fault {
				mu.Lock()
				defer mu.Unlock()
				if r.URL.Path != "/dir/model.bin" { // what is looked for beside it
					return storagetest.None
				}
				if requests++; requests == 3 || requests > 3 && always {
					return tt.fault
				}
				return storagetest.None
			}})
			got, err := read(address+"/dir/model.bin", optionsFor(t, tt.fault))
			right, reason := err == nil && bytes.Equal(got, all), reasonOf(err)
			if always && (right != (tt.always == "") || reason != tt.always) || !always && !right && (tt.once == "" || reason != tt.once) {
				t.Errorf("%s, always %t: %v, right %t", name, always, err, right)
			}
			if err != nil && !strings.Contains(err.Error(), "/dir/model.bin: ") {
				t.Errorf("%s: the error does not name the file: %v", name, err)
			}
		}
	}
}

// What is wrong with the first answer already is an error of Open.
func TestRefusals(t *testing.T) {
	files := storagetest.NewFiles(map[string][]byte{"small": content(1000), "large": content(17 << 20), "empty": {}, "whole": content(100_000)})
	var fault atomic.Value // a handler can outlive its request
	address := storagetest.Start(t, &storagetest.Faulty{Handler: files, Fault: func(*http.Request) storagetest.Fault { return fault.Load().(storagetest.Fault) }})
	for _, tt := range []struct {
		name  string
		fault storagetest.Fault
		want  remote.Reason
	}{
		{"small", storagetest.None, ""},
		{"empty", storagetest.None, ""},
		{"absent", storagetest.None, remote.Missing},
		{"small", storagetest.Whole, ""}, // a small file is read in one piece
		{"large", storagetest.Whole, ""}, // a large one from its beginning to its end
		{"small", storagetest.Unauthorized, remote.Unauthorized},
		{"small", storagetest.Forbidden, remote.Forbidden},
		{"small", storagetest.BusyLong, remote.Busy},
		{"small", storagetest.Failing, remote.Failing},
		{"small", storagetest.Refuse, remote.Unreachable},
		{"small", storagetest.Shifted, remote.Invalid},
		{"whole", storagetest.None, ""},
		{"whole", storagetest.Drop, ""}, // half of each answer arrives
		{"whole", storagetest.Lying, ""},
		{"whole", storagetest.Short, ""},
		{"whole", storagetest.Stall, ""},
	} {
		fault.Store(tt.fault)
		if _, err := read(address+"/"+tt.name, optionsFor(t, tt.fault)); reasonOf(err) != tt.want || (err == nil) != (tt.want == "") {
			t.Errorf("%s with fault %d: %v, want %q", tt.name, tt.fault, err, tt.want)
		}
	}
	for address, want := range map[string]remote.Reason{
		"http://example.org/model.bin": remote.Insecure,
		"http://127.0.0.1.example.org": remote.Insecure,
		"https:///model.bin":           malformed,
		"https://%zz":                  malformed,
	} {
		if _, _, err := web.Open(address, options(t)); reasonOf(err) != want {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}

// A file that is replaced between two reads is refused, and stays refused.
func TestChanged(t *testing.T) {
	files := storagetest.NewFiles(map[string][]byte{"f": content(1 << 20)})
	source, name, err := web.Open(storagetest.Start(t, files)+"/f", options(t))
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := storage.Open(source, name)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1000)
	if _, err := f.ReadAt(p, 500_000); err != nil {
		t.Fatal(err)
	}
	files.Set("f", append(content(1<<20-1), 'x'))
	if _, err := f.ReadAt(p, 900_000); reasonOf(err) != remote.Changed {
		t.Errorf("after the change: %v", err)
	}
	if _, err := f.ReadAt(p, 500_000); reasonOf(err) != remote.Changed {
		t.Errorf("what was read before: %v", err)
	}
}

// User and password go to the server of the address, and neither they nor the query appear anywhere.
func TestCredentials(t *testing.T) {
	files := storagetest.NewFiles(map[string][]byte{"f": content(100_000)})
	var mu sync.Mutex
	var leaked []string
	other := storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if auth := r.Header.Get("Authorization"); auth != "" {
			leaked = append(leaked, auth)
		}
		files.ServeHTTP(w, r)
	}))
	var refuse atomic.Bool // requests that read ahead may still come
	address := storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if refuse.Load() || user != "anna" || password != "secret" || r.URL.RawQuery != "sig=hidden" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, other+r.URL.Path, http.StatusFound)
	}))
	with := strings.Replace(address, "http://", "http://anna:secret@", 1) + "/f?sig=hidden"
	source, name, err := web.Open(with, options(t))
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := storage.Open(source, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 50_000), 20_000); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if len(leaked) > 0 {
		t.Errorf("the other host saw %q", leaked)
	}
	mu.Unlock()
	refuse.Store(true)
	_, _, err = web.Open(with, options(t))
	origin := storage.OriginOf(source, name)
	for _, text := range []string{err.Error(), storage.Path(source, name), origin.Address} {
		if text == "" || strings.Contains(text, "secret") || strings.Contains(text, "hidden") || strings.Contains(text, "anna") {
			t.Errorf("credentials in %q", text)
		}
	}
	if len(origin.Files) != 1 || origin.Files[0].Version == "" {
		t.Errorf("origin %+v", origin)
	}
}

// A directory shows the files that checkpoints have.
func TestDirectory(t *testing.T) {
	files := storagetest.NewFiles(map[string][]byte{"m/config.json": []byte("{}"), "m/model-1.safetensors": content(50), "m/model.safetensors.index.json": []byte("[]"),
		"m/default/_METADATA": []byte("{}"), "dcp/.metadata": []byte("{}"), "empty/unknown": nil})
	address := storagetest.Start(t, files)
	for _, at := range []string{"/m", "/m/"} {
		source, name, err := web.Open(address+at, options(t))
		if err != nil || name != "." {
			t.Fatalf("%s: %q, %v", at, name, err)
		}
		entries, err := fs.ReadDir(source, ".")
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if got := strings.Join(names, " "); err != nil || got != "config.json default model.safetensors.index.json" {
			t.Errorf("%s has %s, %v", at, got, err)
		}
		if info, err := fs.Stat(source, "default"); err != nil || !info.IsDir() {
			t.Errorf("default: %v", err)
		}
		if got, err := storage.ReadFile(source, "model-1.safetensors", 100); err != nil || len(got) != 50 {
			t.Errorf("a file that an index names: %d bytes, %v", len(got), err)
		}
		if _, err := storage.ReadFile(source, "absent", 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("an absent file: %v", err)
		}
		if _, err := storage.ReadFile(source, "../m/config.json", 100); err == nil {
			t.Error("a name that leads out of the directory was opened")
		}
		if got := storage.Path(source, "config.json"); got != address+"/m/config.json" {
			t.Errorf("a file is called %s", got)
		}
	}
	if source, name, err := web.Open(address+"/dcp", options(t)); err != nil {
		t.Errorf("a distributed checkpoint: %v", err)
	} else if entries, err := fs.ReadDir(source, name); err != nil || len(entries) != 1 || entries[0].Name() != ".metadata" {
		t.Errorf("a distributed checkpoint has %v, %v", entries, err)
	}
	if _, _, err := web.Open(address+"/empty/", options(t)); reasonOf(err) != remote.Missing {
		t.Errorf("a directory without known files: %v", err)
	}
}

// A server that fails says nothing about whether it has a file. One that forbids a file says that there is one, unless it forbids
// whatever it does not have.
func TestFailure(t *testing.T) {
	for name, tt := range map[string]struct {
		config, others int
		want           remote.Reason
	}{
		"absent":             {404, 404, ""},
		"failing":            {503, 404, remote.Failing},
		"too many requests":  {429, 404, remote.Busy},
		"forbidden":          {403, 404, remote.Forbidden},
		"unauthorized":       {401, 404, remote.Unauthorized},
		"all are forbidden":  {403, 403, ""},
		"what is no request": {400, 404, remote.Invalid},
	} {
		files := storagetest.NewFiles(map[string][]byte{"dir/model.bin": content(1000)})
		address := storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/dir/model.bin":
				files.ServeHTTP(w, r)
			case "/dir/config.json":
				w.WriteHeader(tt.config)
			case "/dir/.hidden":
				w.WriteHeader(403)
			default:
				w.WriteHeader(tt.others)
			}
		}))
		source, _, err := web.Open(address+"/dir/model.bin", options(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"config.json", "README.md", ".hidden"} {
			if storage.IsFile(source, file) {
				t.Errorf("%s: %s is there", name, file)
			}
		}
		if err := storage.Failure(source); reasonOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that sends whole files only serves what reads a large file from its beginning to its end; anything else is refused before
// much is read in vain.
func TestPass(t *testing.T) {
	all := content(80 << 20)
	var sent, requests, breaks atomic.Int64
	address := storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/model.bin" {
			http.NotFound(w, r)
			return
		}
		requests.Add(1)
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(all)))
		for at := 0; at < len(all); at += 1 << 20 {
			if at == 40<<20 && breaks.Add(-1) >= 0 {
				panic(http.ErrAbortHandler)
			}
			n, err := w.Write(all[at:min(at+1<<20, len(all))])
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	var notices []string
	o := web.Options{Pool: remote.NewPool(t.Context(), remote.Options{Backoff: time.Microsecond, Notice: func(_, text string) { notices = append(notices, text) }})}
	source, name, err := web.Open(address+"/model.bin", o)
	if err != nil {
		t.Fatal(err)
	}
	f, size, err := storage.Open(source, name)
	if err != nil || size != int64(len(all)) || !tensor.IsSequential(f) {
		t.Fatal(size, err)
	}
	if len(notices) != 1 || !strings.Contains(notices[0], "whole files only") {
		t.Errorf("notices: %q", notices)
	}
	if _, err := f.ReadAt(make([]byte, 20), size-20); reasonOf(err) != remote.NoRanges || sent.Load() > 20<<20 {
		t.Errorf("the end: %v, %d bytes sent", err, sent.Load())
	}
	header := make([]byte, 100_000)
	if _, err := f.ReadAt(header, 0); err != nil || !bytes.Equal(header, all[:len(header)]) {
		t.Fatal("header", err)
	}
	breaks.Store(1) // does not matter: the answer goes on where the header ended
	f.(tensor.Planner).Plan([]tensor.Extent{{Store: f, Offset: 100_000, Length: 30 << 20}, {Store: f, Offset: 50 << 20, Length: 30 << 20}})
	for _, e := range [][2]int64{{100_000, 30 << 20}, {50 << 20, 30 << 20}} {
		got := make([]byte, e[1])
		if _, err := f.ReadAt(got, e[0]); err != nil || !bytes.Equal(got, all[e[0]:][:e[1]]) {
			t.Fatalf("%d bytes at %d: %v", e[1], e[0], err)
		}
	}
	if n := requests.Load(); n != 3 { // of Open, of the header, and after the break
		t.Errorf("%d requests", n)
	}
	if _, err := f.ReadAt(make([]byte, 20), 70<<20); reasonOf(err) != remote.NoRanges {
		t.Errorf("once more: %v", err)
	}
}

// What is looked for beside a file is asked for at the same time.
func TestBeside(t *testing.T) {
	asked := make(chan struct{})
	var requests atomic.Int64
	const besides = 2
	address := storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "conversion.json") {
			if requests.Add(1) == besides {
				close(asked)
			}
			http.NotFound(w, r)
			return
		}
		select {
		case <-asked:
			http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(content(100)))
		case <-time.After(20 * time.Second):
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	source, name, err := web.Open(address+"/model.pt", options(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, beside := range []string{"conversion.json", "model.pt.conversion.json"} {
		if _, err := fs.Stat(source, beside); !errors.Is(err, fs.ErrNotExist) || requests.Load() != besides {
			t.Errorf("%s: %v, %d requests", beside, err, requests.Load())
		}
	}
	if o := storage.OriginOf(source, name); len(o.Files) != 1 {
		t.Errorf("%+v", o)
	}
}

// What is wrong with a file that nobody wants beside another is no failure.
func TestFailureBeside(t *testing.T) {
	refused := make(chan struct{})
	address := storagetest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/conversion.json" {
			http.Error(w, "no", http.StatusBadRequest)
			close(refused)
			return
		}
		<-refused
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(content(100)))
	}))
	source, name, err := web.Open(address+"/model.pt", options(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = fs.Stat(source, name)
	if failure := storage.Failure(source); err != nil || failure != nil {
		t.Error(err, failure)
	}
	if _, err := fs.Stat(source, "conversion.json"); err == nil || storage.Failure(source) == nil {
		t.Errorf("%v, failure %v", err, storage.Failure(source))
	}
}
