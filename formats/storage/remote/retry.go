package remote

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Retry calls do until it succeeds, fails for good, or has failed as often as the Pool's requests may.
// Sources use it for requests that are not for a file's content. Errors other than an *Error come from
// connections to the address.
func (p *Pool) Retry(address string, do func(ctx context.Context) error) error {
	return p.RetryFor(address, p.o.Stall, do)
}

// RetryFor is Retry for requests that take up to a limit each, such as those that send content.
func (p *Pool) RetryFor(address string, limit time.Duration, do func(ctx context.Context) error) error {
	for tries := 1; ; tries++ {
		ctx, cancel := context.WithTimeoutCause(p.ctx, limit, errStalled)
		err := do(ctx)
		if err != nil && !errors.As(err, new(*Error)) {
			if context.Cause(ctx) == errStalled {
				err = errStalled
			}
			err = Errorf(address, Unreachable, "the answer does not arrive: %w", err)
		}
		cancel()
		if ended := p.ctx.Err(); ended != nil && err != nil {
			return ended
		}
		asked, ok := temporary(err)
		if err == nil || !ok || tries >= p.o.Attempts {
			return err
		}
		wait := max(backoff(p.o.Backoff, tries), asked)
		if tries > 1 && p.o.Retrying != nil {
			p.o.Retrying(err, wait)
		}
		if err := sleep(p.ctx, wait); err != nil {
			return err
		}
	}
}

// backoff returns the wait after a number of failures in a row, with up to a quarter of it by chance.
func backoff(first time.Duration, failures int) time.Duration {
	wait := min(first<<min(max(failures-1, 0), 16), mostBackoff)
	return wait + rand.N(wait/4+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
