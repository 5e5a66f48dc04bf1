package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"time"
)

// Reason classifies an Error.
type Reason string

// The reasons for which a remote file cannot be read.
const (
	Unreachable  Reason = "unreachable"  // no connection, or it breaks again and again
	Unauthorized Reason = "unauthorized" // the server wants credentials (401)
	Forbidden    Reason = "forbidden"    // the credentials do not suffice (403)
	Missing      Reason = "missing"      // there is no such file (404); an fs.ErrNotExist
	Busy         Reason = "busy"         // the server wants fewer requests (429)
	Failing      Reason = "failing"      // the server has a fault of its own (5xx)
	Changed      Reason = "changed"      // the file is not the one that was opened
	NoRanges     Reason = "no-ranges"    // the server sends whole files only
	Invalid      Reason = "invalid"      // the answer contradicts the protocol, or the address is malformed
	Insecure     Reason = "insecure"     // an address without encryption that is not on this machine
	Offline      Reason = "offline"      // the network is switched off by the user
	NoRegion     Reason = "no-region"    // the settings do not say in which region of the cloud the files are
	NoHost       Reason = "no-host"      // no machine has the name in the address
	Gated        Reason = "gated"        // the owner of the files grants access on request
)

// MissingHost returns the name that no machine has, if that is why a connection failed, "" otherwise. as is errors.As for the error.
func MissingHost(as func(target any) bool) string {
	var dns *net.DNSError
	if !as(&dns) || !dns.IsNotFound {
		return ""
	}
	return dns.Name
}

// Error says why a remote file cannot be read. It names no credentials.
type Error struct {
	Address string        // of the file, without user, password and query
	Reason  Reason        // the class of the problem
	Status  int           // of the answer of an HTTP server, 0 if there is none
	Problem string        // what happened, lower case, no period
	After   time.Duration // for which the server asks to wait, 0 if it does not say
	Err     error         // the cause, or nil
}

// Errorf returns an Error. The verb %w in format sets Err.
func Errorf(address string, reason Reason, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Address: address, Reason: reason, Problem: err.Error(), Err: errors.Unwrap(err)}
}

func (e *Error) Error() string { return e.Address + ": " + e.Problem }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is fs.ErrNotExist and the file is missing, or fs.ErrPermission and access
// to it is denied.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Reason == Missing
	case fs.ErrPermission:
		return e.Reason == Unauthorized || e.Reason == Forbidden || e.Reason == Gated
	}
	return false
}

// Temporary reports whether another attempt may succeed.
func (e *Error) Temporary() bool {
	return e.Reason == Unreachable || e.Reason == Busy || e.Reason == Failing
}

// Failures keeps the first error after which it is not known whether a source has a file. A source that embeds it has the method
// that storage.Failure calls. It is safe for concurrent use.
type Failures struct {
	mu    sync.Mutex
	first error
}

// Check returns an error with which a file was looked for, and keeps it unless it says that there is no such file.
func (f *Failures) Check(err error) error {
	if !errors.As(err, new(*Error)) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first == nil {
		f.first = err
	}
	return err
}

// Failure returns the error that was kept, nil for none.
func (f *Failures) Failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// mostWait is the longest wait that a server may ask for.
const mostWait = time.Minute

// temporary reports whether err may pass, and the wait that the server asks for. Errors that are not
// an *Error come from connections.
func temporary(err error) (wait time.Duration, ok bool) {
	var e *Error
	if errors.As(err, &e) {
		return e.After, e.Temporary() && e.After <= mostWait
	}
	return 0, true
}
