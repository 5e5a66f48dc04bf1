package main

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/griffin-ckpt/griffin/formats/storage/storagetest"
)

// faults are those of answers, by name. lost is one more: the server does what is asked for, and the answer does not arrive.
var faults = map[string]storagetest.Fault{
	"drop": storagetest.Drop, "refuse": storagetest.Refuse, "stall": storagetest.Stall, "busy": storagetest.Busy, "busylong": storagetest.BusyLong,
	"failing": storagetest.Failing, "unauthorized": storagetest.Unauthorized, "forbidden": storagetest.Forbidden, "short": storagetest.Short,
	"shifted": storagetest.Shifted, "lying": storagetest.Lying, "grown": storagetest.Grown, "renamed": storagetest.Renamed, "whole": storagetest.Whole,
}

const lost = "lost"

func faultNames() string {
	return strings.Join(append(slices.Sorted(maps.Keys(faults)), lost), ", ")
}

// choice chooses requests.
type choice struct {
	matching          *regexp.Regexp
	skip, every, most int64

	mu            sync.Mutex
	seen, matched int64
}

func (c *choice) isChosen(r *http.Request) bool {
	if !c.matching.MatchString(r.Method + " " + r.URL.RequestURI()) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen++
	if c.seen <= c.skip || (c.seen-c.skip)%c.every != 0 || c.matched == c.most {
		return false
	}
	c.matched++
	return true
}

// newFaulty returns a handler that passes requests on to a server and breaks the answers that are chosen.
func newFaulty(to, fault string, c *choice) (http.Handler, error) {
	server := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: to}) }}
	if fault == lost {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !c.isChosen(r) {
				server.ServeHTTP(w, r)
				return
			}
			server.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}), nil
	}
	kind, ok := faults[fault]
	if !ok {
		return nil, errors.New("unknown fault " + fault)
	}
	return &storagetest.Faulty{Handler: server, Fault: func(r *http.Request) storagetest.Fault {
		if c.isChosen(r) {
			return kind
		}
		return storagetest.None
	}}, nil
}
