package upload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/publish"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// renewAfter is how often a run renews its record. A run that has not renewed it for four times as long has ended.
const renewAfter = 10 * time.Second

// claim is the right of a run to write to a destination: its record there.
type claim struct {
	sink   *sink
	record *record
	lost   func(err error) // is called if the record has become that of another run

	mu       sync.Mutex // held while the record is read or written
	presence *publish.Presence
	stop     chan struct{} // ends the renewing; nil if it has ended
	renewed  <-chan error  // when it has ended
}

// claim writes the record of a run that begins, and renews it from then on. It returns a *publish.BusyError if another run
// has a record.
func (s *sink) claim(r *record, lost func(err error)) (_ *claim, err error) {
	c := &claim{sink: s, record: r, lost: lost}
	if c.presence, err = publish.Announce(r.ID); err != nil {
		c.presence = nil // others wait for the record instead
	}
	text, err := r.text()
	if err != nil {
		return nil, err
	}
	err = s.pool.RetryFor(s.store.Path(s.recordKey()), sendLimit, func(ctx context.Context) error {
		return s.store.PutNew(ctx, s.recordKey(), text)
	})
	var e *remote.Error
	if errors.As(err, &e) && e.Reason == remote.Changed { // or an earlier attempt succeeded although its answer was lost
		var there *record
		if there, err = s.readRecord(); err == nil && (there == nil || there.ID != r.ID) {
			err = s.busy()
		}
	}
	if err != nil {
		there, unknown := s.readRecord()
		return nil, errors.Join(err, c.leave(unknown != nil || there != nil && there.ID == r.ID))
	}
	c.stop = make(chan struct{})
	c.renewed = task.Start(func() error { c.renew(); return nil })
	return c, nil
}

func (s *sink) busy() error { return &publish.BusyError{Path: s.store.Path(s.at)} }

// renew renews the record until stop.
func (c *claim) renew() {
	ticks := time.NewTicker(c.sink.renew)
	defer ticks.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-c.sink.pool.Context().Done():
			return
		case <-ticks.C:
		}
		if err := c.update(func(r *record) { r.Renewed++ }); errors.As(err, new(*publish.BusyError)) {
			c.lost(err)
			return
		} // after any other failure, the next time may be better
	}
}

// update changes the record, if it is still that of this run.
func (c *claim) update(change func(r *record)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, err := c.sink.readRecord()
	if err != nil {
		return err
	}
	if r == nil || r.ID != c.record.ID {
		return c.sink.busy()
	}
	change(c.record)
	text, err := c.record.text()
	if err != nil {
		return err
	}
	s := c.sink
	return s.pool.RetryFor(s.store.Path(s.recordKey()), sendLimit, func(ctx context.Context) error {
		return s.store.Put(ctx, s.recordKey(), text)
	})
}

// end ends the renewing of the record.
func (c *claim) end() {
	if c.stop != nil {
		close(c.stop)
		<-c.renewed
		c.stop = nil
	}
}

// leave ends the presence of the run. If something is left of it, others on this machine know that it has ended.
func (c *claim) leave(left bool) error {
	if c.presence == nil {
		return nil
	}
	p := c.presence
	c.presence = nil
	return p.End(left)
}

// checkEnded returns a *publish.BusyError if the run of a record is alive. If that run was not on this machine, it waits for
// a change of the record, as long as it may take.
func (s *sink) checkEnded(r *record) error {
	switch alive, known := publish.IsAlive(r.ID); {
	case alive:
		return s.busy()
	case known:
		return nil
	}
	const looks = 4 // during each of the times after which a run that is alive renews its record
	const times = 4 // after which a run that has not renewed it has ended
	s.pool.Notice(s.store.Path(s.recordKey()), fmt.Sprintf("another run has begun to write to the destination; it counts as ended if it does not renew this record: waiting for up to %v", times*s.renew))
	for range times * looks {
		select {
		case <-s.pool.Context().Done():
			return s.pool.Context().Err()
		case <-time.After(s.renew / looks):
		}
		now, err := s.readRecord()
		if err != nil {
			return err
		}
		if now == nil || now.ID != r.ID || now.Renewed != r.Renewed || now.Publishing != r.Publishing {
			return s.busy()
		}
	}
	return nil
}
