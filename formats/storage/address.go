package storage

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync"
)

// Opener returns the source and the name of the file or directory at an address, as Locate does for
// paths.
type Opener func(address string) (source fs.FS, name string, err error)

var (
	openersMu sync.RWMutex
	openers   = map[string]Opener{}
)

// Register makes Locate open addresses of a scheme, such as "https", through open. A program calls it
// before it opens checkpoints. A later call for the same scheme replaces the earlier one.
func Register(scheme string, open Opener) {
	openersMu.Lock()
	defer openersMu.Unlock()
	openers[scheme] = open
}

// Scheme returns the scheme of an address, SCHEME://…, and false if a path is not an address.
func Scheme(path string) (scheme string, ok bool) {
	scheme, _, ok = strings.Cut(path, "://")
	if !ok || scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return "", false
	}
	return scheme, true
}

// AddressError reports an address that is not well formed. It is an fs.ErrInvalid.
type AddressError struct {
	Address string // without user, password and query
	Problem string // lower case, no period
}

// MalformedAddress returns an *AddressError.
func MalformedAddress(address, problem string) error {
	return &AddressError{WithoutQuery(address), problem}
}

func (e *AddressError) Error() string { return e.Address + ": " + e.Problem }

// Is reports whether target is fs.ErrInvalid.
func (e *AddressError) Is(target error) bool { return target == fs.ErrInvalid }

// SchemeError reports an address of a scheme for which nothing is registered.
type SchemeError struct {
	Scheme string
	Write  bool // to the address
}

func (e *SchemeError) Error() string {
	if e.Write {
		return fmt.Sprintf("addresses that begin with %s:// cannot be written to", e.Scheme)
	}
	return fmt.Sprintf("addresses that begin with %s:// cannot be read", e.Scheme)
}

// locateAddress is Locate for an address.
func locateAddress(scheme, address string) (fs.FS, string, error) {
	if scheme == "file" {
		path, err := LocalDestination(address)
		if err != nil {
			return nil, "", err
		}
		return Locate(path)
	}
	openersMu.RLock()
	open := openers[scheme]
	openersMu.RUnlock()
	if open == nil {
		return nil, "", &SchemeError{Scheme: scheme}
	}
	return open(address)
}

// LocalDestination returns the path that a file:// address stands for, and any other path or address as it is.
func LocalDestination(address string) (string, error) {
	if scheme, ok := Scheme(address); !ok || scheme != "file" {
		return address, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" {
		return "", MalformedAddress(address, "is not file:///PATH")
	}
	return filepath.FromSlash(u.Path), nil
}

// WithoutQuery returns an address without its query and user, which may hold credentials, and a path as it is.
func WithoutQuery(address string) string {
	scheme, ok := Scheme(address)
	if !ok {
		return address
	}
	plain, _, _ := strings.Cut(address, "?")
	rest := strings.TrimPrefix(plain, scheme+"://")
	host, path, slash := strings.Cut(rest, "/")
	host = host[strings.LastIndex(host, "@")+1:]
	if slash {
		host += "/"
	}
	return scheme + "://" + host + path
}

// BaseName returns the last element of a path or address, also if the path is ".".
func BaseName(name string) string {
	if _, ok := Scheme(name); ok {
		return path.Base(WithoutQuery(name))
	}
	if absolute, err := filepath.Abs(name); err == nil {
		name = absolute
	}
	return filepath.Base(name)
}
