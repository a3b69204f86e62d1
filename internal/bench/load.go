package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is a stream of signed requests, each with another body.
type load struct {
	addr, path, header string
	body               func(b []byte, n int64) []byte
	// every is the time between two requests of one connection; zero: as fast as the
	// answers come.
	every time.Duration
	// more is asked before each request; nil: until the time is over.
	more func() bool
}

// result is what one measurement found. All but rate, p50 and p99 are per event or per second of
// the measured time.
type result struct {
	rate     float64 // events a second
	p50, p99 time.Duration
	cpu      float64 // microseconds of the server's CPU time an event, with its database's
	written  float64 // bytes that the server wrote to files, an event
	syncs    float64 // flushes of the disk a second, by all programs of the machine
}

func printHeader() {
	fmt.Printf("%-48s %5s %9s %7s %8s %8s %9s %9s %8s\n", "", "conns", "events/s", "ratio", "p50 ms", "p99 ms", "CPU µs/ev", "bytes/ev", "syncs/s")
}

func (r result) print(name string, conns int, ratio float64) {
	fmt.Printf("%-48s %5d %9.0f %7.3f %8.1f %8.1f %9.0f %9.0f %8.0f\n", name, conns, r.rate, ratio, ms(r.p50), ms(r.p99), r.cpu, r.written, r.syncs)
}

// printRatio compares two builds: below 1 is better for all but events/s.
func printRatio(before, after result) {
	fmt.Printf("%-48s %5s %9.3f %7s %8.3f %8.3f %9.3f %9.3f %8.3f\n", "    after / before", "", after.rate/before.rate, "",
		ms(after.p50)/ms(before.p50), ms(after.p99)/ms(before.p99), after.cpu/before.cpu, after.written/before.written, after.syncs/before.syncs)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(rs []result) result {
	slices.SortFunc(rs, func(a, b result) int { return int(a.rate - b.rate) })
	return rs[len(rs)/2]
}

// sequence numbers all requests of the run, so that no two bodies are alike.
var sequence atomic.Int64

// measure runs a load for d. The clock goes on until after returns, so that work which is
// only accepted counts as not done.
func measure(t target, l load, conns int, d time.Duration, after func() error) (result, error) {
	before, began := t.usage(), time.Now()
	stop := began.Add(d)
	var wg sync.WaitGroup
	waits, errs := make([][]time.Duration, conns), make([]error, conns)
	for i := range conns {
		one := l
		one.addr = t.addrs[i%len(t.addrs)]
		wg.Go(func() { waits[i], errs[i] = one.send(stop, time.Duration(i)*l.every/time.Duration(conns)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return result{}, err
	}
	if after != nil {
		if err := after(); err != nil {
			return result{}, err
		}
	}
	took, used := time.Since(began), t.usage()
	all := slices.Concat(waits...)
	if len(all) == 0 {
		return result{}, errors.New("no request was answered")
	}
	slices.Sort(all)
	events := float64(len(all))
	return result{
		rate: events / took.Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100],
		cpu:     float64((used.cpu - before.cpu).Microseconds()) / events,
		written: float64(used.written-before.written) / events,
		syncs:   float64(used.syncs-before.syncs) / took.Seconds(),
	}, nil
}

// send is one connection: request, answer, request. It speaks HTTP by hand, since a
// client that costs more than the server would measure itself.
func (l load) send(stop time.Time, offset time.Duration) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(stop.Add(10 * time.Second)); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 4096)
	mac := hmac.New(sha256.New, []byte(secret))
	head := "POST " + l.path + " HTTP/1.1\r\nHost: " + l.addr + "\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n" + l.header + ": "
	var body, request []byte
	var waits []time.Duration
	for next := time.Now().Add(offset); next.Before(stop) && (l.more == nil || l.more()); {
		if l.every > 0 {
			time.Sleep(time.Until(next))
			next = next.Add(l.every)
		} else {
			next = time.Now()
		}
		body = l.body(body[:0], sequence.Add(1))
		mac.Reset()
		mac.Write(body)
		request = append(request[:0], head...)
		request = hex.AppendEncode(request, mac.Sum(nil))
		request = append(request, "\r\nContent-Length: "...)
		request = strconv.AppendInt(request, int64(len(body)), 10)
		request = append(request, "\r\n\r\n"...)
		request = append(request, body...)
		sent := time.Now()
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		if err := readAnswer(in); err != nil {
			return nil, err
		}
		waits = append(waits, time.Since(sent))
	}
	return waits, nil
}

func readAnswer(in *bufio.Reader) error {
	status, length := "", 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case status == "":
			status = string(line)
		case len(line) <= 2:
			if !strings.HasPrefix(status, "HTTP/1.1 200 ") {
				return fmt.Errorf("answered %q", strings.TrimSpace(status))
			}
			_, err := in.Discard(length)
			return err
		case len(line) > 15 && strings.EqualFold(string(line[:15]), "Content-Length:"):
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[15:]))); err != nil {
				return err
			}
		}
	}
}
