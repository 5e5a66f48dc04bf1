// Command proxy stands between a client and a server on loopback, for checks that are not written in Go. It adds latency to
// all connections, or breaks some answers of an HTTP server. It is also a server itself, of the files of a directory. It prints its
// address, runs until its standard input ends, and prints how many bytes it has passed on to clients (0 as a server, and if it breaks answers).
//
//	go run ./testdata/interop/proxy -dir DIR -latency 50ms
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
	listener, err := listen()
	if err != nil {
		log.Fatal(err)
	}
	switch {
	case *dir != "":
		go http.Serve(listener, newFiles(*dir, *latency))
	case *fault == "":
		go serveLate(listener, *to, *latency)
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
	for deadline := time.Now().Add(time.Second); open.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // what is counted at the end of a connection
	}
	fmt.Println(passed.Load())
}

var (
	passed atomic.Int64 // bytes to clients
	open   atomic.Int64 // connections
)

// serveLate passes on connections, what clients send later by a delay. Answers come later by as much, and are passed on as they come:
// the kernel moves them between the connections, which takes little of the processors that the client and the server share.
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
			open.Add(1)
			defer open.Add(-1)
			go passLate(server, client, delay)
			n, _ := io.Copy(client, server)
			passed.Add(n)
			client.Close()
			server.Close()
		}()
	}
}

const (
	pieceSize = 64 << 10
	window    = 64 // pieces of a connection that are on their way
)

// piece is bytes on their way.
type piece struct {
	content []byte
	due     time.Time
}

// passLate copies what comes from one connection to another, a delay later.
func passLate(to, from net.Conn, delay time.Duration) {
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
		if _, err := to.Write(p.content); err != nil {
			break
		}
		free <- p.content
	}
	to.Close()
	from.Close()
}
