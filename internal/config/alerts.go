package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"gaff/internal/alert"
	"gaff/internal/watch"
)

// Alerts says which messages operators get, when, and by which channels.
type Alerts struct {
	Interval   time.Duration `yaml:"interval" default:"1h" help:"least time between two messages about one cause"`
	Remind     time.Duration `yaml:"remind" default:"24h" help:"when a message is repeated although nothing new happened; 0 for never"`
	Wait       time.Duration `yaml:"wait" default:"30s" help:"how long a message waits for more alerts to be sent along"`
	Every      time.Duration `yaml:"every" default:"10s" help:"time between two rounds of checks"`
	JobOverdue time.Duration `yaml:"job_overdue" default:"1h" help:"time after which an unfinished job is overdue"`
	RunWaiting time.Duration `yaml:"run_waiting" default:"1h" help:"time after which a run that waits for approval is reported"`
	Rejections int           `yaml:"rejections" default:"20" help:"least number of rejections of a source in ten minutes that are reported, if they are three times as many as usual"`
	DiskFree   int64         `yaml:"disk_free" unit:"bytes" default:"0" help:"free space of the data folder's disk below which it is low; 0 for a twentieth of the disk, at most 5GiB"`

	// Channels are the ways to tell people, by name.
	Channels map[string]AlertChannel `yaml:"channels"`
}

// AlertChannel is one way to tell people. Exactly one of the first five is set.
type AlertChannel struct {
	Email       *AlertEmail `yaml:"email"`
	Slack       Secret      `yaml:"slack"`
	Discord     Secret      `yaml:"discord"`
	Teams       Secret      `yaml:"teams"`
	Destination string      `yaml:"destination"`

	// Events chooses by type, such as delivery.dead or destination.*; empty chooses all.
	Events []string `yaml:"events" list:"commas"`
	// Quiet are the times without messages, in Timezone.
	Quiet    []string `yaml:"quiet" list:"commas"`
	Timezone string   `yaml:"timezone"`
}

// AlertEmail describes a channel that sends mail.
type AlertEmail struct {
	Server   string   `yaml:"server"`
	TLS      string   `yaml:"tls"`
	User     string   `yaml:"user"`
	Password Secret   `yaml:"password"`
	From     string   `yaml:"from"`
	To       []string `yaml:"to" list:"commas"`
}

// Mail returns the description as the channel takes it.
func (e *AlertEmail) Mail() watch.Email {
	return watch.Email{Server: e.Server, TLS: e.TLS, User: e.User, Password: string(e.Password), From: e.From, To: e.To}
}

func (a *Alerts) check(k *checker) {
	for _, d := range []*time.Duration{&a.Interval, &a.Every, &a.JobOverdue, &a.RunWaiting} {
		if *d < time.Second {
			k.value(d, errors.New("must be at least a second, such as 30s or 1h"))
		}
	}
	for _, d := range []*time.Duration{&a.Remind, &a.Wait} {
		if *d < 0 {
			k.value(d, errors.New("must not be negative"))
		}
	}
	if a.Rejections < 1 {
		k.value(&a.Rejections, errors.New("must be at least 1"))
	}
	if a.DiskFree < 0 {
		k.value(&a.DiskFree, errors.New("must not be negative"))
	}
}

// check reports the faults of a channel. destinations are the names of the configured ones; one
// of another name may have been set up by the API.
func (a *AlertChannel) check(name string, k *checker) {
	if !nameSyntax.MatchString(name) {
		k.report(k.path, "", "is not a name of a channel: it begins with a lower case letter or a digit and has up to 64 of those, - and _")
	}
	ways := 0
	for _, set := range []bool{a.Email != nil, a.Slack != "", a.Discord != "", a.Teams != "", a.Destination != ""} {
		if set {
			ways++
		}
	}
	if ways != 1 {
		k.report(k.path, "", "wants exactly one of email, slack, discord, teams and destination")
	}
	for _, p := range []*Secret{&a.Slack, &a.Discord, &a.Teams} {
		u, err := url.Parse(string(*p))
		if *p != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "") {
			k.value(p, errors.New("must be the URL of an incoming webhook, such as env:SLACK_WEBHOOK_URL"))
		}
	}
	if a.Email != nil {
		if err := a.Email.Mail().Check(); err != nil {
			field, problem, ok := strings.Cut(err.Error(), ": ")
			if !ok {
				field, problem = "", err.Error()
			}
			k.part(&a.Email, strings.TrimSuffix("."+field, "."), "", problem)
		}
	}
	for i, pattern := range a.Events {
		if _, err := alert.ParseWants([]string{pattern}); err != nil {
			k.part(&a.Events, fmt.Sprintf("[%d]", i), pattern, err.Error())
		}
	}
	if _, err := alert.ParseQuiet(a.Quiet, a.Timezone); err != nil {
		k.value(&a.Quiet, err)
	}
}
