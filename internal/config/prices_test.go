package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gaff/jobs"
	"gaff/provider/all"
	"gaff/provider/described"
)

func TestKnownPricesHaveDateAndSource(t *testing.T) {
	t.Parallel()
	for _, p := range KnownPrices() {
		if !slices.Contains(slices.Concat(all.Names(), described.Catalogue()), p.Provider) || p.Model == "" {
			t.Errorf("%s %s: unknown provider, or no model", p.Provider, p.Model)
		}
		if at, err := time.Parse(time.DateOnly, p.Date); err != nil || at.Year() < 2026 || p.Source == "" || p.Note == "" || p.Currency != "USD" {
			t.Errorf("%s %s: wants date, source, note and currency: %+v", p.Provider, p.Model, p)
		}
		for _, amount := range []string{p.Job, p.Unit} {
			if _, err := jobs.ParseMicros(amount); amount != "" && err != nil {
				t.Errorf("%s %s: %q: %v", p.Provider, p.Model, amount, err)
			}
		}
	}
}

func TestPricesOfTheFileGoBeforeTheKnownOnes(t *testing.T) {
	t.Parallel()
	c := Default()
	c.Described = map[string]Provider{"mine": {Use: "bfl"}, "bfl": {Describe: &described.Description{}}}
	if p := c.Price("fal", "fal-ai/flux/dev"); p.Job != "0.025" || p.Unit != "0.025" || p.Currency != "USD" {
		t.Errorf("the known price is %+v", p)
	}
	if p := c.Price("mine", "flux-2-pro"); p.Job != "0.03" {
		t.Errorf("the price of the catalogue's entry under another name is %+v", p)
	}
	if p := c.Price("bfl", "flux-2-pro"); p.Job != "" {
		t.Errorf("another description of the name has the price %+v", p)
	}
	c.Prices = []PriceEntry{{Provider: "fal", Model: "fal-ai/flux/*", Job: "0.05", Currency: "EUR"}}
	if p := c.Price("fal", "fal-ai/flux/dev"); p.Job != "0.05" || p.Unit != "" || p.Currency != "EUR" {
		t.Errorf("the price is %+v, want that of the file", p)
	}
}

func TestFaultsOfPricesNameTheMissingMember(t *testing.T) {
	t.Parallel()
	const entry = "prices:\n  - {provider: fal, model: m, job: '1.00', currency: USD, "
	for text, want := range map[string]string{
		entry + "date: 2026-11-29}\n":                         "prices[0].source (gaff.yaml:2): is not set",
		entry + "source: 'https://a.example'}\n":              "prices[0].date",
		entry + "date: today, source: 'https://a.example'}\n": `prices[0].date="today"`,
	} {
		if got := faultsOf(t, map[string]string{"gaff.yaml": text}); !strings.Contains(got, want) || strings.Contains(got, "faults:") {
			t.Errorf("%s: %q, want %q alone", text, got, want)
		}
	}
}
