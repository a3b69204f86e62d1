package storetest

import (
	"time"

	"gaff"
	"gaff/internal/stats"
)

func testLatencies(s *suite) {
	now := time.Now().UTC()
	minute := now.Unix() / 60
	add := []stats.Latency{
		{Source: "fal", Kind: stats.Reply, Minute: minute, Bucket: 3, N: 7},
		{Source: "fal", Kind: stats.Reply, Minute: minute - 1, Bucket: 3, N: 1},
		{Source: "fal", Kind: stats.Failed, Minute: minute, Bucket: 9, N: 2},
		{Source: "shop", Kind: stats.Done, Minute: minute, Bucket: 3, N: 5},
		{Source: gaff.InternalSource, Kind: stats.Done, Minute: minute, Bucket: 3, N: 100},
		{Source: "fal", Kind: stats.Done, Minute: minute - 60*24*20, Bucket: 1, N: 11},
		{Source: "shop", Kind: stats.HandlerDone, Minute: minute, Bucket: 4, N: 8}, // a handler with the name of a source
		{Source: "shop", Kind: stats.HandlerFailed, Minute: minute, Bucket: 4, N: 3},
		{Source: "crm", Kind: stats.HandlerDone, Minute: minute, Bucket: 4, N: 2},
	}
	for range 2 {
		if err := s.st.AddLatencies(s.ctx, add); err != nil {
			s.Fatal(err)
		}
	}
	if err := s.st.RollUp(s.ctx, now); err != nil {
		s.Fatal(err)
	}
	for name, want := range map[string][3]int64{"1h": {16, 10, 4}, "6h": {16, 10, 4}, "24h": {16, 10, 4}, "7d": {16, 10, 4}, "30d": {16, 32, 4}} {
		span, _ := stats.SpanOf(name, now)
		series, err := stats.Read(s.ctx, s.st, span)
		if err != nil {
			s.Fatal(err)
		}
		if got := [3]int64{series.Total.Reply.N, series.Total.Done.N, series.Total.Failed.N}; got != want {
			s.Errorf("%s: %v, want %v", name, got, want)
		}
		span.Source = "shop"
		if series, err = stats.Read(s.ctx, s.st, span); err != nil || series.Total.Done.N != 10 || series.Total.Reply.N != 0 {
			s.Errorf("%s of shop: %+v %v", name, series.Total, err)
		}
		span.Source, span.Handler = "", "shop"
		if series, err = stats.Read(s.ctx, s.st, span); err != nil || series.Total.Done.N != 16 || series.Total.Failed.N != 6 || series.Total.Reply.N != 0 {
			s.Errorf("%s of the handler shop: %+v %v", name, series.Total, err)
		}
	}
	handlers, err := stats.Handlers(s.ctx, s.st, now.Add(-time.Hour))
	if err != nil || len(handlers) != 2 || handlers["shop"].Done.N != 16 || handlers["shop"].Failed.N != 6 || handlers["crm"].Done.N != 4 {
		s.Errorf("handlers: %+v %v", handlers, err)
	}
}
