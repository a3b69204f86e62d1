package config

import (
	"strings"
	"testing"
)

func TestProfileAddressMustBeLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"": "", "127.0.0.1:6060": "", "127.9.9.9:0": "", "[::1]:6060": "", "localhost:6060": "",
		":6060":          "must be a loopback address",
		"0.0.0.0:6060":   "must be a loopback address",
		"[::]:6060":      "must be a loopback address",
		"10.0.0.1:6060":  "must be a loopback address",
		"example.com:80": "must be a loopback address",
		"6060":           "must be host:port",
		"127.0.0.1":      "must be host:port",
		"127.0.0.1:x":    "must be host:port",
	} {
		err := checkLoopback(addr)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", addr, err, want)
		}
	}
}
