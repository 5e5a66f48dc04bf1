// Command proxy stands between a client and a server on loopback, for checks that are not written in Go. It adds latency to
// all connections, or breaks some answers of an HTTP server. It prints its address, runs until its standard input ends, and prints how
// many bytes it has passed on to clients (0 if it breaks answers).
//
//	go run ./testdata/interop/proxy -dir DIR
//	go run ./testdata/interop/proxy -to 127.0.0.1:8000 -latency 50ms
//	go run ./testdata/interop/proxy -to 127.0.0.1:8000 -fault drop -match '^PUT ' -skip 2 -every 3
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"sync/atomic"
	"time"
)

func main() {
	log.SetFlags(0)
	to := flag.String("to", "", "HOST:PORT of the server")
	dir := flag.String("dir", "", "be the server of the files of a directory")
	latency := flag.Duration("latency", 0, "added between a request and its answer, without a limit of the rate")
	fault := flag.String("fault", "", "what is wrong with the answers that are chosen: "+faultNames())
	match := flag.String("match", "", "regular expression of the METHOD PATH?QUERY of requests that are counted")
	skip := flag.Int64("skip", 0, "how many of these pass first")
	every := flag.Int64("every", 1, "after which every N-th is broken")
	most := flag.Int64("most", 1<<40, "how many are broken at most")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	switch {
	case *dir != "":
		go http.Serve(listener, http.FileServer(http.Dir(*dir)))
	case *fault == "":
		go serveLate(listener, *to, *latency/2)
	default:
		matching, err := regexp.Compile(*match)
		if err != nil {
			log.Fatal(err)
		}
		c := &choice{matching: matching, skip: *skip, every: *every, most: *most}
		handler, err := newFaulty(*to, *fault, c)
		if err != nil {
			log.Fatal(err)
		}
		go http.Serve(listener, handler)
	}
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
	fmt.Println(passed.Load())
}

var passed atomic.Int64 // bytes to clients

// serveLate passes on connections, each direction later by a delay.
func serveLate(listener net.Listener, to string, delay time.Duration) {
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				return
			}
			go passLate(server, client, delay, new(atomic.Int64))
			passLate(client, server, delay, &passed)
		}()
	}
}

const (
	pieceSize = 256 << 10
	window    = 64 // pieces of a connection that are on their way, in each direction
)

// piece is bytes on their way.
type piece struct {
	content []byte
	due     time.Time
}

// passLate copies what comes from one connection to another, a delay later, and counts it.
func passLate(to, from net.Conn, delay time.Duration, count *atomic.Int64) {
	free := make(chan []byte, window)
	way := make(chan piece, window)
	for range window {
		free <- nil
	}
	go func() {
		defer close(way)
		for buffer := range free {
			if buffer == nil {
				buffer = make([]byte, pieceSize)
			}
			n, err := from.Read(buffer[:pieceSize])
			if n > 0 {
				way <- piece{buffer[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		n, err := to.Write(p.content)
		count.Add(int64(n))
		if err != nil {
			break
		}
		free <- p.content
	}
	to.Close()
	from.Close()
}
