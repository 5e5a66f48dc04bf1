package manifest

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/griffin-ckpt/griffin/formats/strictjson"
	"github.com/griffin-ckpt/griffin/formats/tensor"
)

// parser reads tensors. A value that is of another kind than it should be is passed over, and does not end the reading: the text may be of
// another program.
type parser struct {
	d      *strictjson.Decoder
	memory int   // of the tensor that is read, in bytes
	wrong  error // about the first value of another kind
}

// tensors reads a list of tensors. f is called with each, which is valid until f returns, and with where it begins and ends.
func (p *parser) tensors(f func(begin, end int64, t *Tensor) error) error {
	var t Tensor
	n := 0
	return p.list(func() error {
		if n++; n > tensor.MaxTensors {
			return tensor.Bad("has more than %d tensors, which is the most that griffin reads", tensor.MaxTensors).Because(tensor.TooLarge)
		}
		begin := p.d.Offset()
		if err := p.tensor(&t); err != nil {
			return err
		}
		return f(begin, p.d.Offset(), &t)
	})
}

// tensor reads a tensor into memory that one was read into before.
func (p *parser) tensor(t *Tensor) error {
	*t = Tensor{Shape: t.Shape[:0], From: t.From[:0], Origin: t.Origin[:0]}
	p.memory = 0
	return p.object(func(key string) error {
		switch key {
		case "name":
			return p.string(&t.Name)
		case "dtype":
			return p.string(&t.DType)
		case "shape":
			return p.shape(&t.Shape)
		case "blake3":
			return p.string(&t.BLAKE3)
		case "sha256":
			return p.string(&t.SHA256)
		case "rule":
			return p.string(&t.Rule)
		case "divided_by":
			return p.float(&t.DividedBy)
		case "from":
			return p.parts(&t.From)
		case "origin":
			return p.parts(&t.Origin)
		}
		return p.d.Skip()
	})
}

func (p *parser) parts(all *[]Part) error {
	return p.list(func() error {
		*all = append(*all, Part{})
		if err := p.take(ofItem); err != nil {
			return err
		}
		return p.part(&(*all)[len(*all)-1])
	})
}

func (p *parser) part(part *Part) error {
	return p.object(func(key string) error {
		switch key {
		case "name":
			return p.string(&part.Name)
		case "dtype":
			return p.string(&part.DType)
		case "shape":
			return p.shape(&part.Shape)
		case "blake3":
			return p.string(&part.BLAKE3)
		case "sha256":
			return p.string(&part.SHA256)
		case "rounded":
			return p.bool(&part.Rounded)
		}
		return p.d.Skip()
	})
}

// take adds to the memory of the tensor that is read.
func (p *parser) take(bytes int) error {
	if p.memory += bytes; p.memory > maxTensor {
		return tensor.Bad("has a tensor that takes more than %d MiB of memory", maxTensor>>20).Because(tensor.TooLarge)
	}
	return nil
}

// is reports whether the next value is of a kind. It passes over one of another kind.
func (p *parser) is(kind strictjson.Kind) (bool, error) {
	switch p.d.Peek() {
	case kind:
		return true, nil
	case strictjson.KindNull:
		return false, p.d.Null()
	}
	p.unexpected()
	return false, p.d.Skip()
}

func (p *parser) unexpected() {
	if p.wrong == nil {
		p.wrong = tensor.Bad("a value of an unexpected kind at offset %d", p.d.Offset())
	}
}

func (p *parser) object(member func(key string) error) error {
	if ok, err := p.is(strictjson.KindObject); !ok {
		return err
	}
	return p.d.Object(member)
}

func (p *parser) list(item func() error) error {
	if ok, err := p.is(strictjson.KindArray); !ok {
		return err
	}
	return p.d.Array(item)
}

func (p *parser) string(s *string) error {
	ok, err := p.is(strictjson.KindString)
	if !ok {
		return err
	}
	if *s, err = p.d.String(); err != nil {
		return err
	}
	return p.take(len(*s))
}

func (p *parser) bool(b *bool) error {
	ok, err := p.is(strictjson.KindBool)
	if ok {
		*b, err = p.d.Bool()
	}
	return err
}

func (p *parser) float(x *Float) error {
	if ok, err := p.is(strictjson.KindNumber); !ok {
		return err
	}
	n, err := p.d.Number()
	if err != nil {
		return err
	}
	parsed, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		p.unexpected()
	}
	*x = Float(parsed)
	return nil
}

func (p *parser) shape(shape *[]int64) error {
	return p.list(func() error {
		if err := p.take(ofNumber); err != nil {
			return err
		}
		*shape = append(*shape, 0)
		if ok, err := p.is(strictjson.KindNumber); !ok {
			return err
		}
		n, err := p.d.Number()
		if err != nil {
			return err
		}
		axis, err := strconv.ParseInt(string(n), 10, 64)
		if err != nil {
			p.unexpected()
		}
		(*shape)[len(*shape)-1] = axis
		return nil
	})
}

// UnmarshalJSON implements json.Unmarshaler. Settings that lack one of those which every record of settings has are an error: 0 and false would be settings.
func (s *Settings) UnmarshalJSON(text []byte) error {
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	lacking := slices.DeleteFunc([]string{"attention_window", "logits_soft_cap", "embedding_scale"}, func(name string) bool { return members[name] != nil })
	if len(lacking) > 0 {
		return tensor.Bad("its settings lack %s", strings.Join(lacking, ", "))
	}
	type plain Settings // without this method
	return json.Unmarshal(text, (*plain)(s))
}
