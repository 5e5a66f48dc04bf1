package upload

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
	"github.com/griffin-ckpt/griffin/formats/tensor/task"
)

// renewAfter is how often a run renews its record. A run that has not renewed it for four times as long has ended.
const renewAfter = 10 * time.Second

// claim writes the record of a run that begins, and renews it from then on. It returns a *storage.BusyError if another run
// has a record.
func (u *upload) claim() (err error) {
	s := u.sink
	if u.presence, err = storage.Announce(u.record.ID); err != nil {
		u.presence = nil // others wait for the record instead
	}
	text, err := u.record.text()
	if err != nil {
		return err
	}
	err = s.pool.RetryFor(s.store.Path(s.recordKey()), sendLimit, func(ctx context.Context) error {
		return s.store.PutNew(ctx, s.recordKey(), text)
	})
	var e *remote.Error
	if errors.As(err, &e) && e.Reason == remote.Changed { // or an earlier attempt succeeded although its answer was lost
		var r *record
		if r, err = s.readRecord(); err == nil && (r == nil || r.ID != u.record.ID) {
			err = s.busy()
		}
	}
	if err != nil {
		r, unknown := s.readRecord()
		return errors.Join(err, u.leave(unknown != nil || r != nil && r.ID == u.record.ID))
	}
	u.stop = make(chan struct{})
	u.renewed = task.Start(func() error { u.renew(); return nil })
	return nil
}

func (s *sink) busy() error { return &storage.BusyError{Path: s.store.Path(s.at)} }

// renew renews the record until stop.
func (u *upload) renew() {
	ticks := time.NewTicker(u.sink.renew)
	defer ticks.Stop()
	for {
		select {
		case <-u.stop:
			return
		case <-u.sink.pool.Context().Done():
			return
		case <-ticks.C:
		}
		if err := u.update(func(r *record) { r.Renewed++ }); errors.As(err, new(*storage.BusyError)) {
			u.fail(err)
			return
		} // after any other failure, the next time may be better
	}
}

// update changes the record, if it is still that of this run.
func (u *upload) update(change func(r *record)) error {
	u.claimMu.Lock()
	defer u.claimMu.Unlock()
	r, err := u.sink.readRecord()
	if err != nil {
		return err
	}
	if r == nil || r.ID != u.record.ID {
		return u.sink.busy()
	}
	change(u.record)
	return u.writeRecord()
}

// beginPublishing marks the record, before the destination is changed.
func (u *upload) beginPublishing() error {
	return u.update(func(r *record) {
		r.Publishing = true
		for _, name := range u.names() {
			if key := u.sink.key(name); !slices.Contains(r.Keys, key) { // of a file that was renamed
				r.Keys = append(r.Keys, key)
			}
		}
	})
}

// endRenewing ends the renewing of the record.
func (u *upload) endRenewing() {
	if u.stop != nil {
		close(u.stop)
		<-u.renewed
		u.stop = nil
	}
}

// leave ends the presence of the run. If something is left of it, others on this machine know that it has ended.
func (u *upload) leave(left bool) error {
	if u.presence == nil {
		return nil
	}
	p := u.presence
	u.presence = nil
	return p.End(left)
}

// checkEnded returns a *storage.BusyError if the run of a record is alive. If that run was not on this machine, it waits for
// a change of the record, as long as it may take.
func (s *sink) checkEnded(r *record) error {
	switch alive, known := storage.IsAlive(r.ID); {
	case alive:
		return s.busy()
	case known:
		return nil
	}
	const looks = 4 // during each of the times after which a run that is alive renews its record
	for range 4 * looks {
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
