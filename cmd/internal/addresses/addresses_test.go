package addresses

import (
	"bytes"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// Files of a host that does not answer, or refuses all, are one note for each time that they wait. Others are named.
func TestRetries(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	status := func(address string) error {
		return &remote.Error{Address: address, Reason: remote.Failing, Status: 503, Problem: "the server answers 503"}
	}
	var out bytes.Buffer
	r := retries{w: &out, until: map[string]time.Time{}}
	r.note(remote.Errorf("https://host:1/x.pt", remote.Unreachable, "%w", dial), 0)
	r.note(remote.Errorf("https://host:1/conversion.json", remote.Unreachable, "%w", dial), time.Hour)
	r.note(remote.Errorf("https://host:1/x.pt", remote.Unreachable, "%w", dial), time.Hour)
	r.note(remote.Errorf("https://other/x.pt", remote.Unreachable, "%w", dial), time.Hour)
	r.note(status("https://host:1/x.pt"), time.Hour)
	r.note(status("https://host:1/y.pt"), time.Hour)
	r.note(remote.Errorf("https://host:1/x.pt", remote.Unreachable, "the answer does not arrive"), time.Second)
	r.note(remote.Errorf("https://host:1/y.pt", remote.Unreachable, "the answer does not arrive"), time.Second)
	const want = `note: https://host:1: dial tcp: connection refused; trying again in 0s
note: https://host:1: dial tcp: connection refused; trying again in 1h0m0s
note: https://other: dial tcp: connection refused; trying again in 1h0m0s
note: https://host:1: the server answers 503; trying again in 1h0m0s
note: https://host:1/x.pt: the answer does not arrive; trying again in 1s
note: https://host:1/y.pt: the answer does not arrive; trying again in 1s
`
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
