package diff

import (
	"encoding/binary"
	"encoding/json"
	"iter"
	"math"
)

// Changes is a histogram of differences, packed because there may be very many. It is a list of Change, also in JSON.
type Changes string

// NewChanges packs a list.
func NewChanges(list ...Change) Changes {
	p := make([]byte, 0, 4*len(list))
	last := int64(0)
	for _, c := range list {
		p = binary.AppendVarint(p, int64(c.Exponent)-last)
		p = binary.AppendUvarint(p, uint64(c.Count))
		last = int64(c.Exponent)
	}
	return Changes(p)
}

// All returns the list.
func (c Changes) All() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		u := unpacker(c)
		for exponent := int64(0); len(u) > 0; {
			exponent += u.int()
			if !yield(Change{int(exponent), int64(u.uint())}) {
				return
			}
		}
	}
}

// MarshalJSON implements json.Marshaler.
func (c Changes) MarshalJSON() ([]byte, error) {
	list := []Change{}
	for one := range c.All() {
		list = append(list, one)
	}
	return json.Marshal(list)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Changes) UnmarshalJSON(text []byte) error {
	var list []Change
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*c = NewChanges(list...)
	return nil
}

// packedMetrics is the encoding in which Metrics are kept until the result is complete, to save memory. A nil *Metrics is "".
type packedMetrics string

func (m *Metrics) pack() packedMetrics {
	if m == nil {
		return ""
	}
	p := binary.AppendUvarint(make([]byte, 0, 256), uint64(m.Differing))
	for _, n := range []int64{m.NaNA, m.NaNB, m.InfA, m.InfB} {
		p = binary.AppendUvarint(p, uint64(n))
	}
	for _, x := range []Number{m.MaxAbs, m.MeanAbs, m.RelativeL2, m.Cosine, m.FirstA, m.FirstB} {
		p = binary.LittleEndian.AppendUint64(p, math.Float64bits(float64(x)))
	}
	var has uint64
	if m.Beyond != nil {
		has |= 1
	}
	if m.MaxULP != nil {
		has |= 2
	}
	p = binary.AppendUvarint(p, has)
	if m.Beyond != nil {
		p = binary.AppendUvarint(p, uint64(*m.Beyond))
	}
	if m.MaxULP != nil {
		p = binary.AppendUvarint(p, *m.MaxULP)
	}
	p = binary.AppendUvarint(p, uint64(len(m.First)))
	for _, n := range m.First {
		p = binary.AppendVarint(p, n)
	}
	p = binary.AppendUvarint(p, uint64(len(m.FirstIntegers)))
	for _, s := range m.FirstIntegers {
		p = append(binary.AppendUvarint(p, uint64(len(s))), s...)
	}
	return packedMetrics(append(p, m.Changes...))
}

// differing returns Metrics.Differing, 0 for none.
func (p packedMetrics) differing() int64 {
	if p == "" {
		return 0
	}
	u := unpacker(p[:min(len(p), binary.MaxVarintLen64)])
	return int64(u.uint())
}

// unpack returns the metrics, nil for none.
func (p packedMetrics) unpack() *Metrics {
	if p == "" {
		return nil
	}
	u, m := unpacker(p), &Metrics{}
	m.Differing = int64(u.uint())
	for _, n := range []*int64{&m.NaNA, &m.NaNB, &m.InfA, &m.InfB} {
		*n = int64(u.uint())
	}
	for _, x := range []*Number{&m.MaxAbs, &m.MeanAbs, &m.RelativeL2, &m.Cosine, &m.FirstA, &m.FirstB} {
		*x = Number(math.Float64frombits(binary.LittleEndian.Uint64([]byte(u.take(8)))))
	}
	has := u.uint()
	if has&1 != 0 {
		n := int64(u.uint())
		m.Beyond = &n
	}
	if has&2 != 0 {
		n := u.uint()
		m.MaxULP = &n
	}
	m.First = make([]int64, u.uint())
	for i := range m.First {
		m.First[i] = u.int()
	}
	for range u.uint() {
		m.FirstIntegers = append(m.FirstIntegers, string(u.take(int(u.uint()))))
	}
	m.Changes = Changes(u)
	return m
}

// unpacker is what is still to be unpacked.
type unpacker string

func (u *unpacker) take(n int) unpacker {
	taken := (*u)[:n]
	*u = (*u)[n:]
	return taken
}

// next returns the bytes of a number of variable length.
func (u *unpacker) next() []byte {
	n := 0
	for (*u)[n]&0x80 != 0 {
		n++
	}
	return []byte(u.take(n + 1))
}

func (u *unpacker) uint() uint64 {
	n, _ := binary.Uvarint(u.next())
	return n
}

func (u *unpacker) int() int64 {
	n, _ := binary.Varint(u.next())
	return n
}
