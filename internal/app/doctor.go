package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gaff/internal/config"
	"gaff/internal/disk"
	"gaff/internal/wire"
	"gaff/jobs"
	"gaff/provider/all"
)

// Finding is the result of one check of a set-up.
type Finding struct {
	// Check is the name of the check.
	Check string `json:"check"`
	// State is "ok", "warning" or "fault".
	State string `json:"state"`
	Text  string `json:"text"`
	// Advice says what to do; empty if the state is ok.
	Advice string `json:"advice,omitempty"`
}

// States of a Finding.
const (
	FindingOK      = "ok"
	FindingWarning = "warning"
	FindingFault   = "fault"
)

const (
	// doctorTime bounds each request of a check.
	doctorTime = 10 * time.Second
	// clockSkew is the difference of two clocks that is reported. Senders sign the time, and
	// signatures are accepted for minutes.
	clockSkew = 30 * time.Second
	// lowDisk is the free space in bytes below which the disk is reported.
	lowDisk = 1 << 30
)

// Doctor checks the parts of a set-up outside the gateway: the disk, the public URL, the clock and
// the keys of providers. It sends no job and no webhook.
func Doctor(ctx context.Context, cfg *config.Config) (list []Finding) {
	list = append(list, checkDisk(cfg))
	list = append(list, checkBaseURL(ctx, cfg)...)
	return append(list, checkProviders(ctx, cfg)...)
}

func checkDisk(cfg *config.Config) Finding {
	space, err := disk.Of(cfg.DataDir)
	switch {
	case errors.Is(err, disk.ErrUnsupported):
		return Finding{"disk", FindingOK, err.Error(), ""}
	case err != nil:
		return Finding{"disk", FindingWarning, err.Error(), "start the gateway once, or name its data folder with --data-dir"}
	case space.Free < lowDisk:
		return Finding{"disk", FindingWarning, fmt.Sprintf("%d MiB are free in %s", space.Free>>20, cfg.DataDir), "free space: a full disk rejects webhooks with 503"}
	}
	return Finding{"disk", FindingOK, fmt.Sprintf("%d GiB are free in %s", space.Free>>30, cfg.DataDir), ""}
}

// checkBaseURL requests the public URL as a sender would.
func checkBaseURL(ctx context.Context, cfg *config.Config) []Finding {
	const check = "public URL"
	if cfg.BaseURL == "" {
		return []Finding{{check, FindingWarning, "WEBHOOK_BASE_URL is not set: providers get no webhook URL, and jobs are polled", "set it to the gateway's public URL, such as https://hooks.example.com"}}
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	address := strings.TrimRight(cfg.BaseURL, "/") + "/healthz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return []Finding{{check, FindingFault, err.Error(), "correct WEBHOOK_BASE_URL"}}
	}
	res, err := ownClient().Do(req)
	if err != nil {
		return []Finding{{check, FindingFault, fmt.Sprintf("%s: %v", address, err), "check DNS, proxy and firewall: senders cannot reach the gateway either"}}
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), `"status":"ok"`) {
		return []Finding{{check, FindingFault, fmt.Sprintf("%s answered %s, which is not gaff's answer", address, res.Status), "let the proxy pass the whole path on to the gateway"}}
	}
	return []Finding{{check, FindingOK, address + " answers", ""}, checkClock(res, time.Now())}
}

func checkClock(res *http.Response, now time.Time) Finding {
	at, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return Finding{"clock", FindingOK, "the answer has no time to compare with", ""}
	}
	if skew := now.Sub(at).Abs().Round(time.Second); skew > clockSkew {
		return Finding{"clock", FindingFault, fmt.Sprintf("this machine's clock differs by %s from that of %s", skew, res.Request.URL.Host), "synchronize the clocks (NTP): signatures with a time are rejected otherwise"}
	}
	return Finding{"clock", FindingOK, "agrees with the public URL's answer", ""}
}

// checkProviders asks each provider that has a key for a job that does not exist: an answer that it is
// unknown shows that the key is accepted.
func checkProviders(ctx context.Context, cfg *config.Config) (list []Finding) {
	clients, err := newClients(cfg, nil)
	if err != nil {
		return []Finding{{"providers", FindingFault, err.Error(), "correct the settings of the provider"}}
	}
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		job := &jobs.Job{Provider: name, RequestID: uuid.NewString()}
		if p, ok := all.Find(name); ok {
			job.Model = p.Example
		}
		check := "provider " + name
		if !clients[name].CanPoll(job) {
			list = append(list, Finding{check, FindingOK, "no key is set, so nothing is submitted or polled", ""})
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, doctorTime)
		_, err := clients[name].Poll(ctx, job)
		cancel()
		if err != nil && !errors.Is(err, jobs.ErrNoSuchWork) {
			list = append(list, Finding{check, FindingFault, err.Error(), "check the key and the URL of the provider"})
			continue
		}
		list = append(list, Finding{check, FindingOK, "answers, and accepts the key", ""})
	}
	return list
}

// DoctorHealth turns the state of a running gateway into findings.
func DoctorHealth(h *wire.Health) (list []Finding) {
	if h.Ready {
		list = append(list, Finding{"gateway", FindingOK, "is ready, version " + h.Version, ""})
	} else {
		list = append(list, Finding{"gateway", FindingFault, "cannot store webhooks: " + string(h.Reason), "see the gateway's log"})
	}
	if h.DamagedBodies > 0 {
		list = append(list, Finding{"stored bodies", FindingFault, fmt.Sprintf("%d are damaged", h.DamagedBodies), "run gaff check, and restore a backup"})
	}
	for _, name := range slices.Sorted(maps.Keys(h.QuietSources)) {
		list = append(list, Finding{"source " + name, FindingWarning, "rejects every request: " + h.QuietSources[name], "set its secret, if the source is used"})
	}
	return list
}
