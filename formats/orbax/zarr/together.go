package zarr

import "io"

// together is a band of several chunks that are read together: a run of elements from the first, a run from the
// second, and so on. Padding is skipped.
type together struct {
	bands
	chunks []*chunk // in the order of the grid
	pos    int64    // bytes of the band that were read
	size   int64
}

// bufferedRun is the size in bytes of a run from which on an uncompressed chunk is read without a buffer.
const bufferedRun = 16 << 10

// openTogether opens the chunks of a band. It returns nil if they take too much memory.
func (s *stream) openTogether(b band) (part, error) {
	t := &together{bands: s.bands, pos: s.pos - b.start, size: b.end - b.start}
	memory := int64(0)
	from := s.bands.axis + 1
	for more := true; more; more = next(b.cell[from:], s.a.grid[from:]) {
		c, err := s.a.open(s.locator, b.cell)
		if err != nil {
			t.close()
			return nil, err
		}
		t.chunks = append(t.chunks, c)
		if t.run*s.a.chunk[t.runAxis] < bufferedRun {
			c.buffer()
		}
		if memory += c.memory; memory > s.a.limits.decoders {
			t.close()
			return nil, nil
		}
	}
	return t, nil
}

func (t *together) read(p []byte) error {
	for len(p) > 0 {
		c, at, n := t.next()
		n = min(n, int64(len(p)))
		if err := c.skipTo(at); err != nil {
			return err
		}
		if err := c.read(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		t.pos += n
	}
	if t.pos < t.size {
		return nil
	}
	for _, c := range t.chunks {
		if err := c.finish(); err != nil {
			return err
		}
	}
	return nil
}

// next returns the chunk with the next byte of the band, the offset of the byte in the chunk, and how many bytes
// from there on are consecutive in both.
func (t *together) next() (c *chunk, at, n int64) {
	a, r := t.a, t.runAxis
	whole := a.Shape[r] * t.run // bytes of all indices of runAxis in the array
	line, in := t.pos/whole, t.pos%whole
	piece := a.chunk[r] * t.run // bytes of all indices of runAxis in a chunk
	number := in / piece
	n = min(whole-number*piece, piece) - in%piece
	at = in % piece
	stride, chunks := piece, a.grid[r]
	for k := r - 1; k >= t.axis; k-- {
		index := line
		if k > t.axis {
			index, line = line%a.Shape[k], line/a.Shape[k]
			number += index / a.chunk[k] * chunks
			chunks *= a.grid[k]
		}
		at += index % a.chunk[k] * stride
		stride *= a.chunk[k]
	}
	return t.chunks[number], at, n
}

func (t *together) writeTo(w io.Writer) (int64, error) { return copyPart(w, t, t.size-t.pos) }

func (t *together) close() {
	for _, c := range t.chunks {
		c.close()
	}
}

// copyPart writes the last n bytes of a part.
func copyPart(w io.Writer, p part, n int64) (int64, error) {
	buf := make([]byte, min(n, 256<<10))
	done := int64(0)
	for done < n {
		piece := buf[:min(n-done, int64(len(buf)))]
		if err := p.read(piece); err != nil {
			return done, err
		}
		m, err := w.Write(piece)
		done += int64(m)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
