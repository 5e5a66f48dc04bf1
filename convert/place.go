package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/griffin-ckpt/griffin/convert/huggingface"
	"github.com/griffin-ckpt/griffin/convert/manifest"
	"github.com/griffin-ckpt/griffin/convert/transfer"
	"github.com/griffin-ckpt/griffin/formats"
	"github.com/griffin-ckpt/griffin/formats/hfconfig"
	"github.com/griffin-ckpt/griffin/formats/orbax"
	"github.com/griffin-ckpt/griffin/formats/peft"
	"github.com/griffin-ckpt/griffin/formats/safetensors"
	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// place is where a destination is: in the local file system, or at an address.
type place interface {
	// check refuses a destination that would destroy something, and one without space.
	check(c *conversion) error

	// begin removes what killed runs have left, and begins to write.
	begin(c *conversion) (*staging, error)

	// open returns what is at the destination as a source, and its name in it. Nothing, or what an interrupted run left, is
	// an error that is fs.ErrNotExist.
	open() (fs.FS, string, error)
}

// placeOf returns the place of a destination.
func placeOf(ctx context.Context, dst string, o *Options) (place, error) {
	sink, ok, err := publish.OpenSink(ctx, dst, o.toFile(dst))
	if err != nil {
		return nil, err
	}
	if ok {
		return &sinkPlace{dst, sink}, nil
	}
	return localPlace{dst}, nil
}

// localPlace is a path.
type localPlace struct{ dst string }

func (p localPlace) check(c *conversion) error {
	if err := checkTarget(p.dst, c.checkpoint, &c.options); err != nil {
		return err
	}
	if c.options.DryRun { // otherwise begin does, after it has removed what is left
		suffix := ""
		if c.options.toFile(p.dst) {
			suffix = "." + manifest.Name
		}
		if err := publish.CheckStage(p.dst, suffix, c.options.Overwrite); err != nil {
			return err
		}
	}
	return c.checkFree(func(need int64) error { return publish.CheckFreeFor(p.dst, need) })
}

func (p localPlace) open() (fs.FS, string, error) { return storage.Locate(p.dst) }

// begin creates the temporary paths of a destination: a directory, or a file with conversion.json beside it.
func (p localPlace) begin(c *conversion) (*staging, error) {
	var weights, record string
	s := &staging{}
	if c.options.toFile(p.dst) {
		stage, err := publish.NewFileStage(p.dst, "."+manifest.Name, c.options.Overwrite)
		if err != nil {
			return nil, err
		}
		weights, record, s.publish, s.discard = stage.File, stage.Sidecar, stage.Publish, stage.Discard
	} else {
		stage, err := publish.NewStage(p.dst, c.options.Overwrite)
		if err != nil {
			return nil, err
		}
		weights, record, s.publish, s.discard = stage.Dir, filepath.Join(stage.Dir, manifest.Name), stage.Publish, stage.Discard
	}
	s.weights = weights
	s.create = func() (transfer.Destination, error) { return c.output.create(weights, c.written) }
	s.wait = func() error { return nil }
	s.open = func() (*tensor.Checkpoint, error) { return formats.Open(weights, formats.Options{}) }
	s.put = func(f *huggingface.File) error { return f.Write(weights, c.written) }
	s.record = func(r io.WriterTo) (int64, error) { return publish.WriteFrom(record, r) }
	if err := c.checkFree(func(need int64) error { return publish.CheckFree(filepath.Dir(weights), need) }); err != nil { // the stages of killed runs are removed
		return nil, errors.Join(err, s.discard())
	}
	return s, nil
}

// staging is a destination while it is being written.
type staging struct {
	create           func() (transfer.Destination, error) // begins the weights
	wait             func() error                         // until the weights are stored
	open             func() (*tensor.Checkpoint, error)   // the weights that are stored
	put              func(f *huggingface.File) error      // writes a file beside the weights
	record           func(r io.WriterTo) (int64, error)   // writes conversion.json, and returns its size in bytes
	weights          string                               // path of the local file or directory that is being written, "" for none
	memory           int64                                // bytes that writing takes beside
	publish, discard func() error
}

// sinkPlace is an address.
type sinkPlace struct {
	dst  string
	sink publish.Sink
}

func (p *sinkPlace) check(c *conversion) error {
	if c.options.toFile(p.dst) && strings.HasSuffix(storage.WithoutQuery(p.dst), "/") {
		return &OptionError{Problem: fmt.Sprintf("%s ends in / and names a directory, and the target %s is a file", storage.WithoutQuery(p.dst), c.options.To), Hint: "name the file"}
	}
	if err := p.checkApart(c.checkpoint); err != nil {
		return err
	}
	left, err := p.sink.Interrupted()
	if err != nil {
		return err
	}
	names, err := p.sink.Contents()
	if err != nil || len(names) == 0 || left {
		return err // begin looks again after it has removed what is left
	}
	return p.checkExisting(names, c.options.Overwrite)
}

// checkExisting refuses what is at the destination, unless it may be replaced. names are those of objects, at least one.
func (p *sinkPlace) checkExisting(names []string, overwrite bool) error {
	err := p.checkReplaceable(names)
	if overwrite {
		return err
	}
	return cmp.Or(withoutOverwrite(err), error(&fs.PathError{Op: "create", Path: storage.WithoutQuery(p.dst), Err: fs.ErrExist}))
}

// checkApart refuses a destination that is the source, or is inside it or around it.
func (p *sinkPlace) checkApart(src *tensor.Checkpoint) error {
	from := strings.TrimRight(storage.OriginOf(src.Source, src.Root).Address, "/") + "/"
	address := storage.WithoutQuery(p.dst)
	to := strings.TrimRight(address, "/") + "/"
	if from != "/" && (strings.HasPrefix(from, to) || strings.HasPrefix(to, from)) {
		return &OptionError{Problem: "the destination " + address + " is the source, inside it or around it", Hint: "use a destination of its own"}
	}
	return nil
}

// checkReplaceable is the function of that name for names of objects.
func (p *sinkPlace) checkReplaceable(names []string) error {
	address := storage.WithoutQuery(p.dst)
	isCheckpoint := false
	for _, name := range names {
		if name == "" { // a file
			return nil
		}
		top, _, nested := strings.Cut(name, "/")
		isCheckpoint = isCheckpoint || matchesAny(weightNames, top)
		isArray := nested && (slices.Contains(names, top+"/.zarray") || slices.Contains(names, top+"/zarr.json"))
		if matchesAny(checkpointNames, top) || !nested && isOwn(p, top) || isArray {
			continue
		}
		return &publish.OutputError{Path: address, Reason: publish.OutputHasOthers, Other: top}
	}
	if !isCheckpoint {
		return &publish.OutputError{Path: address, Reason: publish.OutputNoCheckpoint}
	}
	return nil
}

func (p *sinkPlace) open() (fs.FS, string, error) {
	left, err := p.sink.Interrupted()
	if err != nil {
		return nil, "", err
	}
	if left {
		return nil, "", &fs.PathError{Op: "open", Path: storage.WithoutQuery(p.dst), Err: fs.ErrNotExist}
	}
	return p.sink.Source()
}

func (p *sinkPlace) begin(c *conversion) (*staging, error) {
	if _, err := p.sink.Clean(); err != nil {
		return nil, err
	}
	names, err := p.sink.Contents()
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		if err := p.checkExisting(names, c.options.Overwrite); err != nil {
			return nil, err
		}
	}
	o := publish.SinkOptions{Replace: c.options.Overwrite, Preview: c.options.Verify}
	record := manifest.Name
	if c.options.toFile(p.dst) {
		record = "." + manifest.Name
	} else {
		o.Names, o.Hidden = c.output.uploadNames()
	}
	for i := range c.files {
		o.Names = append(o.Names, c.files[i].Name)
	}
	o.Last = lastOf(o.Names)
	o.Names = slices.DeleteFunc(append(o.Names, record), func(name string) bool { return name == o.Last })
	upload, err := p.sink.Begin(o)
	if err != nil {
		return nil, err
	}
	tracked := trackedUpload{upload, c.written}
	return &staging{
		create: func() (transfer.Destination, error) { return c.output.upload(tracked) },
		wait:   upload.Wait,
		open: func() (*tensor.Checkpoint, error) {
			source, name, err := upload.Preview()
			if err != nil {
				return nil, err
			}
			return formats.OpenSource(source, name, formats.Options{})
		},
		put: func(f *huggingface.File) error { return putFile(tracked, f) },
		record: func(r io.WriterTo) (int64, error) {
			size, err := r.WriteTo(io.Discard)
			if err != nil {
				return 0, err
			}
			w, err := upload.Create(record, size)
			if err != nil {
				return 0, err
			}
			return r.WriteTo(io.NewOffsetWriter(w, 0))
		},
		memory:  upload.Memory(transfer.OrderedWorkers),
		publish: upload.Publish,
		discard: upload.Discard,
	}, nil
}

// trackedUpload computes the digests of the files that are uploaded.
type trackedUpload struct {
	publish.Upload
	files *publish.OutputFiles
}

// Create implements publish.Upload.
func (u trackedUpload) Create(name string, size int64) (io.WriterAt, error) {
	w, err := u.Upload.Create(name, size)
	if err != nil {
		return nil, err
	}
	return u.files.Track(name, size, w), nil
}

// Stream implements publish.Upload.
func (u trackedUpload) Stream(name string, most int64) (io.WriteCloser, error) {
	w, err := u.Upload.Stream(name, most)
	if err != nil {
		return nil, err
	}
	return u.files.TrackStream(name, w), nil
}

// Rename implements publish.Upload.
func (u trackedUpload) Rename(from, to string) error {
	err := u.Upload.Rename(from, to)
	if err == nil {
		u.files.TrackRename(from, to)
	}
	return err
}

// Take implements publish.Upload.
func (u trackedUpload) Take(name string, use func(content io.ReaderAt) error) error {
	err := u.Upload.Take(name, use)
	if err == nil {
		u.files.TrackRename(name, "")
	}
	return err
}

// lastOf returns the file of a directory without which it is not usable, "" if there are no names: the destination is a file.
func lastOf(names []string) string {
	for _, name := range []string{orbax.CommitName, hfconfig.Name, peft.ConfigName, safetensors.IndexName} {
		if slices.Contains(names, name) {
			return name
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[0] // the only file of weights
}

func putText(u publish.Upload, name string, text []byte) error {
	w, err := u.Create(name, int64(len(text)))
	if err != nil {
		return err
	}
	_, err = w.WriteAt(text, 0)
	return err
}

// putFile writes a file beside the weights.
func putFile(u publish.Upload, f *huggingface.File) error {
	if f.From == "" {
		return putText(u, f.Name, f.Content)
	}
	in, size, err := storage.Open(f.Source, f.From)
	if err != nil {
		return err
	}
	defer in.Close()
	w, err := u.Create(f.Name, size)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(w, 0), in)
	return err
}
