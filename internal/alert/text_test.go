package alert_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/alert"
)

func sampleText(title string) alert.Text {
	a := alert.Alert{
		Key: alert.Key{Kind: gaff.EventDeliveryDead, Cause: "iss_1"}, Active: true, Title: title, Count: 3,
		Since: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC),
	}
	return alert.NewText([]alert.Item{alert.NewItem(&a, "https://hooks.example.com")}, "hooks.example.com")
}

func TestTextNamesTheProblemAndItsPage(t *testing.T) {
	t.Parallel()
	text := sampleText("deliveries to app are dead")
	if want := "gaff hooks.example.com: Problem: deliveries to app are dead"; text.Subject != want {
		t.Errorf("subject %q, want %q", text.Subject, want)
	}
	want := "Problem: deliveries to app are dead (3), since 2026-11-29T12:00:00Z\nhttps://hooks.example.com/issues/iss_1\n"
	if got := text.Body(); got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

func TestBodiesOfServices(t *testing.T) {
	t.Parallel()
	text := sampleText("<!channel> & *bold* @everyone")
	var slack struct{ Text string }
	if err := json.Unmarshal(text.Slack(), &slack); err != nil || strings.ContainsAny(slack.Text, "<>") {
		t.Errorf("Slack: %v, %q: markup must be escaped", err, slack.Text)
	}
	var discord struct {
		Content  string
		Mentions struct{ Parse []string } `json:"allowed_mentions"`
	}
	if err := json.Unmarshal(text.Discord(), &discord); err != nil || discord.Mentions.Parse == nil || len(discord.Mentions.Parse) != 0 || discord.Content == "" {
		t.Errorf("Discord: %v, %+v: mentions must have no effect", err, discord)
	}
	var teams struct {
		Type        string
		Attachments []struct {
			ContentType string
			Content     struct {
				Type string
				Body []struct{ Type, Text string }
			}
		}
	}
	if err := json.Unmarshal(text.Teams(), &teams); err != nil || teams.Type != "message" || len(teams.Attachments) != 1 ||
		teams.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" || teams.Attachments[0].Content.Body[0].Text != text.Subject {
		t.Errorf("Teams: %v, %+v", err, teams)
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	t.Parallel()
	var items []alert.Item
	for range 1000 {
		items = append(items, alert.Item{Active: true, Title: strings.Repeat("ö", 300), URL: "https://hooks.example.com/health"})
	}
	text := alert.NewText(items, "")
	var discord struct{ Content string }
	if err := json.Unmarshal(text.Discord(), &discord); err != nil || len(discord.Content) > 2000 {
		t.Errorf("Discord: %v, %d bytes, want at most 2000", err, len(discord.Content))
	}
	if body := text.Body(); !strings.HasSuffix(body, "and 975 more\n") {
		t.Errorf("the body ends with %q", body[len(body)-100:])
	}
}
