package main

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math/rand/v2"
	"strconv"
	"time"
)

// ids says which ids the events have. fal's are random, and each unique index then gets its new
// entries all over its pages; rising ids, which touch one page, cost less and hide that.
var ids = flag.String("ids", "random", "ids of the events: random as fal's are, or rising")

// began makes the ids of one run differ from those of another.
var began = time.Now().UnixNano()

// appendID appends the id of the n-th request.
func appendID(b []byte, n int64) []byte {
	if *ids == "rising" {
		b = strconv.AppendInt(b, began, 36)
		return strconv.AppendInt(append(b, '-'), n, 10)
	}
	random := rand.NewPCG(uint64(began), uint64(n))
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], random.Uint64())
	binary.BigEndian.PutUint64(raw[8:], random.Uint64())
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80 // a UUID of version 4
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, raw[[...]int{0, 4, 6, 8, 10}[i]:end])
	}
	return b
}

func customBody(b []byte, n int64) []byte {
	b = append(b, `{"id":"order-`...)
	b = appendID(b, n)
	b = append(b, `","type":"order.paid","data":"`...)
	return pad(b, `"}`)
}

func falBody(b []byte, n int64) []byte {
	id := appendID(nil, n)
	b = append(b, `{"request_id":"`...)
	b = append(b, id...)
	b = append(b, `","status":"completed","result":{"images":[{"url":"https://example.com/`...)
	b = append(b, id...)
	b = append(b, `.jpg","width":1024,"height":1024}],"seed":17454220438242315174},"metadata":{"job_id":"job-`...)
	b = append(b, id...)
	b = append(b, `","project_id":"project-1","user_id":"user-1","generation_type":"image"},"prompt":"`...)
	return pad(b, `"}`)
}

// pad fills a body up to 1 KiB.
func pad(b []byte, end string) []byte {
	const size = 1024
	for len(b) < size-len(end) {
		b = append(b, "abcdefghijklmnopqrstuvwxyz012345"[:min(32, size-len(end)-len(b))]...)
	}
	return append(b, end...)
}
