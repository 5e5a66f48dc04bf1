package dcp

// place is where a chunk is stored. It has the length 0 if that is not known.
type place struct {
	offset int64
	packed uint64 // the length in bytes, and below it, in fileBits bits, the index of the file
}

const (
	fileBits  = 20
	maxLength = 1<<(64-fileBits) - 1
)

func newPlace(offset, length int64, file int) place {
	return place{offset, uint64(length)<<fileBits | uint64(file)}
}

func (p place) length() int64 { return int64(p.packed >> fileBits) }

func (p place) unknown() bool { return p.length() == 0 }

func (p place) file() int { return int(p.packed & (1<<fileBits - 1)) }

// places are of the chunks of all tensors, from 1 on. There can be millions, so that they lie in blocks, which need not be copied
// when there are more.
type places struct {
	blocks [][]place
	n      int
}

const perBlock = 1 << 12

// add adds n places that are not known yet, and returns the first of them.
func (p *places) add(n int) (first int) {
	first = p.n + 1
	p.n += n
	for len(p.blocks)*perBlock <= p.n {
		p.blocks = append(p.blocks, make([]place, perBlock))
	}
	return first
}

func (p *places) at(i int) *place { return &p.blocks[i/perBlock][i%perBlock] }
