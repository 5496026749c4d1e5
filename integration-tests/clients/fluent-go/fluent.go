// Sends numbered events with fluent-logger-golang, Fluentd's own logger for Go, and asks for an answer to each. What is
// not answered, because the connection broke, it sends again under the same chunk's name: nothing may be missing then,
// and nothing be there twice.
//
//	fluent -port PORT [options]
//
//	-host HOST          [127.0.0.1]
//	-port PORT
//	-count N            how many events, numbered from 0 [1000]
//	-connections N      loggers at once, each with a connection of its own [4]
//	-client NAME        stands in each record as `client`; the tag is `go.NAME` [fluent-go]
//	-limit SECONDS      how long an answer may take, and how long a logger tries to connect at the least [10]
//
// A record is {"client": NAME, "n": NUMBER, "message": "event NUMBER"}. Each event is a message of its own.
//
// Exit codes: 0 every event was answered, 1 one was not
package main

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
)

// Between two attempts to connect, in milliseconds.
const retryWait = 50

type options struct {
	host, client             string
	port, count, connections int
	limit                    time.Duration
}

func main() {
	given := arguments()
	var next, unanswered atomic.Int64
	var running sync.WaitGroup
	for range given.connections {
		running.Add(1)
		go func() {
			defer running.Done()
			unanswered.Add(send(given, &next))
		}()
	}
	running.Wait()
	if left := unanswered.Load(); left > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d events were not answered\n", left, given.count)
		os.Exit(1)
	}
}

func arguments() options {
	given := options{}
	flag.StringVar(&given.host, "host", "127.0.0.1", "")
	flag.IntVar(&given.port, "port", 0, "")
	flag.IntVar(&given.count, "count", 1000, "")
	flag.IntVar(&given.connections, "connections", 4, "")
	flag.StringVar(&given.client, "client", "fluent-go", "")
	seconds := flag.Float64("limit", 10, "")
	flag.Parse()
	given.limit = time.Duration(*seconds * float64(time.Second))
	return given
}

// send sends the next events until there are no more, and returns how many were not answered.
func send(given options, next *atomic.Int64) (unanswered int64) {
	logger, err := fluent.New(fluent.Config{
		FluentHost:         given.host,
		FluentPort:         given.port,
		Timeout:            given.limit,
		WriteTimeout:       given.limit,
		ReadTimeout:        given.limit,
		RetryWait:          retryWait,
		MaxRetryWait:       retryWait,
		MaxRetry:           int(given.limit / (retryWait * time.Millisecond)),
		RequestAck:         true,
		SubSecondPrecision: true,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		// The logger says so and works all the same: it connects when it has something to send.
	}
	defer logger.Close()
	for {
		n := next.Add(1) - 1
		if n >= int64(given.count) {
			return unanswered
		}
		record := map[string]any{"client": given.client, "n": n, "message": fmt.Sprintf("event %d", n)}
		if err := logger.Post("go."+given.client, record); err != nil {
			fmt.Fprintf(os.Stderr, "event %d: %v\n", n, err)
			unanswered++
		}
	}
}
