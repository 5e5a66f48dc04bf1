package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
	"github.com/griffin-ckpt/griffin/formats/tensor/digest"
)

const (
	maxSize   = 512 << 20 // bytes; a manifest of 200,000 tensors whose names have 120 bytes has less than half of it
	maxDepth  = 10        // nested arrays and objects; a manifest has 5
	maxKept   = 1 << 20   // bytes of text that is kept in memory; the manifest of the largest published model has less
	maxRemote = 16 << 20  // the same of a file that is not local
	maxHead   = 8 << 20   // bytes of text beside the lists of tensors
	maxMemory = 16 << 20  // bytes of memory that the items of other lists take
	maxTensor = 1 << 20   // bytes of memory that one tensor takes
	ofItem    = 160       // of them for an item of a list, at most, though it may have 3 bytes of text
	ofNumber  = 8
)

// Record is a Manifest that was read. Its tensors remain in the file, since there may be very many: Each and Open read them.
type Record struct {
	Head
	Files []OutputFile `json:"files"`

	text       *text
	tensors    int64             // offset of their list in text, 0 for none
	algorithms digest.Algorithms // of the digests of the tensors
	others     digest.Algorithms // of the digests of what they were made from
}

// Algorithms returns the hash functions of all digests in r, but for those of Files.
func (r *Record) Algorithms() digest.Algorithms {
	a := r.algorithms | r.others
	if r.Adapter != nil {
		for _, f := range r.Adapter.Files {
			a |= f.Algorithms()
		}
	}
	return a
}

// TensorAlgorithms returns the hash functions of the digests of the tensors.
func (r *Record) TensorAlgorithms() digest.Algorithms { return r.algorithms }

// Parse is Read of a text in memory, the content of a conversion.json. It returns nil for JSON that is not a manifest,
// and a *tensor.FormatError for a manifest that is corrupt and for text that is not JSON.
func Parse(content []byte) (*Record, error) {
	return read(&text{kept: content, size: int64(len(content))})
}

// text is the content of a file.
type text struct {
	kept   []byte // nil if it is read from the file
	source fs.FS
	name   string
	size   int64
}

// open returns a reader of the text. The caller closes the closer after use.
func (t *text) open() (io.ReaderAt, io.Closer, error) {
	if t.kept != nil || t.source == nil {
		return bytes.NewReader(t.kept), io.NopCloser(nil), nil
	}
	f, _, err := storage.Open(t.source, t.name)
	return f, f, err
}

// annotate adds the path of the file to an error.
func (t *text) annotate(err error) error {
	if t.source == nil {
		return err
	}
	return tensor.Annotate(err, tensor.Location{File: storage.Path(t.source, t.name)})
}

// read reads all of a text once, and keeps its head.
func read(t *text) (*Record, error) {
	file, closer, err := t.open()
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	r := &Record{text: t}
	p := &parser{d: strictjson.NewReader(io.NewSectionReader(file, 0, t.size), maxDepth)}
	head, err := r.readMembers(p)
	if err == nil {
		err = p.d.End()
	}
	if err != nil || head == nil {
		return nil, err
	}
	if err := checkMemory(strictjson.NewDecoder(head, maxDepth), new(int)); err != nil {
		return nil, err
	}
	if err = json.Unmarshal(head, r); err == nil {
		err = p.wrong
	}
	if err != nil {
		var other struct {
			Griffin string `json:"griffin"`
		}
		if json.Unmarshal(head, &other) != nil || other.Griffin == "" {
			return nil, nil
		}
		return nil, tensor.Bad("is not a record of a conversion: %v", err).Advise("remove it if the checkpoint beside it is right")
	}
	if r.Griffin == "" {
		return nil, nil
	}
	return r, nil
}

// readMembers reads the members of a manifest. It returns the JSON of those that are kept; nil if the text is no object.
func (r *Record) readMembers(p *parser) (head []byte, err error) {
	if p.d.Peek() != strictjson.KindObject {
		return nil, p.d.Skip()
	}
	err = p.d.Object(func(key string) error {
		switch key {
		case "tensors":
			p.d.Peek()
			r.tensors = p.d.Offset()
			return p.tensors(func(_, _ int64, t *Tensor) error { r.addAlgorithms(t); return nil })
		case "copies", "left": // no command uses them, and they may be long
			return p.d.Skip()
		}
		value, err := p.d.Text(max(maxHead-len(head), 0))
		quoted, _ := json.Marshal(key)
		head = fmt.Appendf(head, ",%s:%s", quoted, value)
		return err
	})
	return append(append([]byte("{"), bytes.TrimPrefix(head, []byte(","))...), '}'), err
}

func (r *Record) addAlgorithms(t *Tensor) {
	r.algorithms |= t.Algorithms()
	for _, parts := range [][]Part{t.From, t.Origin} {
		for i := range parts {
			r.others |= parts[i].Algorithms()
		}
	}
}

// checkMemory checks a value of any kind, and adds the memory of the items of its lists to total.
func checkMemory(d *strictjson.Decoder, total *int) error {
	switch d.Peek() {
	case strictjson.KindObject:
		return d.Object(func(string) error { return checkMemory(d, total) })
	case strictjson.KindArray:
		return d.Array(func() error {
			if d.Peek() == strictjson.KindNumber {
				*total += ofNumber
			} else {
				*total += ofItem
			}
			if *total > maxMemory {
				return tensor.Bad("has lists that take more than %d MiB of memory", maxMemory>>20).Because(tensor.TooLarge)
			}
			return checkMemory(d, total)
		})
	}
	return d.Skip()
}
