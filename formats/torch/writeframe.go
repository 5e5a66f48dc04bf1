package torch

import (
	"hash/crc32"
	"io"
)

// frame writes what a file has beside its tensors, in pieces from an offset on.
type frame struct {
	layout *Layout
	file   io.WriterAt
	at     int64  // where buffer belongs
	buffer []byte // is not written yet
	err    error
}

const frameBuffer = 64 << 10

func (f *frame) Write(p []byte) (int, error) {
	f.buffer = append(f.buffer, p...)
	f.flushAbove(frameBuffer)
	return len(p), f.err
}

// flushAbove writes the buffer if it has more than n bytes.
func (f *frame) flushAbove(n int) {
	if len(f.buffer) <= n {
		return
	}
	if f.err == nil {
		_, f.err = f.file.WriteAt(f.buffer, f.at)
	}
	f.at += int64(len(f.buffer))
	f.buffer = f.buffer[:0]
}

// before writes what lies between the bytes of record k and those of the last tensor before it that has bytes, but for the descriptor
// of that tensor.
func (f *frame) before(k int) error {
	l := f.layout
	from := k
	for f.at = 0; from > 0; from-- {
		if r := l.record(from - 1); r.isTensor && r.size > 0 {
			f.at = r.end()
			break
		}
	}
	for ; from <= k; from++ {
		r := l.record(from)
		f.buffer = l.localHeader(f.buffer, &r)
		if from == k {
			break
		}
		if from == 0 {
			f.err = writePickle(f, l.specs, l.Ranges)
		}
		f.buffer = append(f.buffer, r.content...)
		f.buffer = append(f.buffer, r.descriptor()...)
		f.flushAbove(frameBuffer)
	}
	f.flushAbove(0)
	return f.err
}

// end writes the serialization id and what follows it. crc returns the CRC-32 of a tensor.
func (f *frame) end(crc func(i int) uint32) error {
	l := f.layout
	summed := func(k int) record {
		r := l.record(k)
		if r.isTensor && r.size > 0 {
			r.crc = crc(k - len(l.first))
		}
		return r
	}
	last := l.last[1]
	id := serializationID(l.count()-1, summed)
	last.crc = crc32.ChecksumIEEE([]byte(id))
	f.at, f.buffer = last.data, append(append(f.buffer, id...), last.descriptor()...)
	for k := range l.count() - 1 {
		r := summed(k)
		f.buffer = l.centralEntry(f.buffer, &r)
		f.flushAbove(frameBuffer)
	}
	f.buffer = l.centralEntry(f.buffer, &last)
	f.buffer = l.endRecords(f.buffer, f.at+int64(len(f.buffer)))
	f.flushAbove(0)
	return f.err
}
