package savefile

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/torch/internal/pickle"
)

// The container of torch 1.6 and later is a zip file with all members in one folder: data.pkl is the
// object, data/N are the storages, version is the version of the container, and byteorder (since torch
// 2.1) is "little" or "big". Other members are not needed.

// Limits of the container.
const (
	maxVersion   = 10      // the newest that torch reads
	maxText      = 64      // bytes in version and byteorder
	maxSumAtOpen = 1 << 20 // bytes of storages whose checksums are checked when a file is opened
)

// readZip reads the pickle of a zip file and finds its storages.
func readZip(path string, file io.ReaderAt, size int64, keep Keep) (*File, error) {
	a, err := readArchive(file, size)
	if err != nil {
		return nil, err
	}
	a.path = path
	if err := a.refuseScript(); err != nil {
		return nil, err
	}
	if err := a.checkVersion(); err != nil {
		return nil, err
	}
	order, err := a.byteOrder()
	if err != nil {
		return nil, err
	}
	a.bigEndian = order == "big"
	l := newLoader(a.container, keep)
	l.archive = a
	r, err := a.unpickle(l)
	if err != nil {
		return nil, err
	}
	return &File{
		Root: r.Value, format: "torch-zip", protocol: r.Protocol, order: l.order,
		check:    func() error { return a.checkSmall(l) },
		describe: func(c *tensor.Checkpoint) { a.describe(c, order) }, checksums: a.checksums(),
	}, nil
}

// refuseScript refuses TorchScript files, which hold code and its constants.
func (a *archive) refuseScript() error {
	for i := range a.members {
		m := &a.members[i]
		if m.name == "constants.pkl" || strings.HasPrefix(m.name, "code/") {
			return tensor.Bad("file is a TorchScript program, not a checkpoint").Within(m.name).
				Advise("in Python, save its weights: torch.save(torch.jit.load(path).state_dict(), new_path)")
		}
	}
	return nil
}

// text returns the content of a small member, and false if there is no such member.
func (a *archive) text(name string) (string, bool, error) {
	m := a.find(name)
	if m == nil {
		return "", false, nil
	}
	data, err := m.readAll(maxText, !a.noChecksums)
	return string(data), true, err
}

func (a *archive) checkVersion() error {
	text, ok, err := a.text("version")
	if err != nil {
		return err
	}
	if !ok {
		return tensor.Bad("zip file holds no version, so torch.save did not write it")
	}
	if n, err := strconv.Atoi(strings.TrimSpace(text)); err != nil || n < 1 || n > maxVersion {
		return tensor.Bad("zip file is of version %q; 1 to %d are known", text, maxVersion).Within("version")
	}
	return nil
}

func (a *archive) byteOrder() (string, error) {
	text, ok, err := a.text("byteorder")
	switch {
	case err != nil:
		return "", err
	case !ok:
		return "little", nil
	case text != "little" && text != "big":
		return "", tensor.Bad("byte order %q is neither little nor big", text).Within("byteorder")
	}
	return text, nil
}

// unpickle reads data.pkl.
func (a *archive) unpickle(l *loader) (pickle.Result, error) {
	m := a.find("data.pkl")
	file, err := a.pickleFile(m)
	if err != nil {
		return pickle.Result{}, err
	}
	r, err := l.read(file, 0, m.size, false)
	if err == nil && r.Length < m.size {
		err = tensor.Bad("%d bytes follow the pickle", m.size-r.Length).At(r.Length)
	}
	return r, tensor.Annotate(err, tensor.Location{Record: m.name})
}

// pickleFile returns the bytes of data.pkl after they were checked. They are in memory if they are few, or slow to reach and not
// very many.
func (a *archive) pickleFile(m *member) (io.ReaderAt, error) {
	const few = 1 << 20
	limit := int64(maxStored)
	if m.deflated {
		limit = MaxPickle
	}
	if m.size <= few || m.size > limit || m.size <= MaxPickle && a.isSlow() {
		data, err := m.readAll(limit, !a.noChecksums)
		return bytes.NewReader(data), err
	}
	if !a.noChecksums {
		if err := m.check(); err != nil {
			return nil, err
		}
	}
	return m.inOrder(), nil
}

// checkSmall checks the checksums of storages, in the order of the pickle, up to maxSumAtOpen bytes in
// all, so that opening a small damaged file fails. Check of a tensor checks the others, and those of a
// file that is slow to reach.
func (a *archive) checkSmall(l *loader) error {
	if a.noChecksums || a.isSlow() {
		return nil
	}
	left := int64(maxSumAtOpen)
	for _, m := range l.order {
		if m.size > left {
			continue
		}
		left -= m.size
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

// isSlow reports whether the file plans its reads, since it is slow to reach.
func (c *container) isSlow() bool {
	_, ok := c.file.(tensor.Planner)
	return ok
}

func (a *archive) describe(c *tensor.Checkpoint, order string) {
	c.Describe("byte order", order)
	c.Describe("folder", a.root)
	deflated := 0
	for i := range a.members {
		if a.members[i].deflated {
			deflated++
		}
	}
	if deflated > 0 {
		c.Describe("compression", "deflate")
	}
	c.Describe(tensor.Checksums, a.checksums())
}

func (a *archive) checksums() string {
	if a.noChecksums {
		return tensor.NoChecksums
	}
	return "CRC-32"
}
