package config

import (
	"cmp"
	_ "embed"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"gaff/jobs"
)

// PriceEntry is a line of the price table: what jobs of a model cost.
type PriceEntry struct {
	Provider string `yaml:"provider"`
	// Model is a model, or a pattern that ends in *; empty: all.
	Model string `yaml:"model"`
	// Job is the estimate for a job, Unit the price of a unit that the provider reports.
	Job      string `yaml:"job"`
	Unit     string `yaml:"unit"`
	Currency string `yaml:"currency"`
	// Date and Source say when and where the price was read.
	Date   string `yaml:"date"`
	Source string `yaml:"source"`
	// Note says what Job is the estimate of.
	Note string `yaml:"note"`
}

//go:embed prices.yaml
var knownPrices []byte

// KnownPrices returns the embedded price table.
var KnownPrices = sync.OnceValue(func() (list []PriceEntry) {
	if err := yaml.UnmarshalWithOptions(knownPrices, &list, yaml.Strict()); err != nil {
		panic("config: prices.yaml: " + err.Error())
	}
	return list
})

// matches reports whether the entry is for a model of a provider.
func (p *PriceEntry) matches(provider, model string) bool {
	return p.Provider == provider && matchesModel(p.Model, model)
}

// checkPrices reports entries of the price table that cannot be used.
func (c *Config) checkPrices(k *checker) {
	for i, p := range c.Prices {
		path := fmt.Sprintf("prices[%d]", i)
		if p.Provider == "" {
			k.report(path+".provider", "", "is not set; set the name of a provider")
		}
		if p.Job == "" && p.Unit == "" {
			k.report(path, "", "has neither job: (the estimate for a job) nor unit: (the price of a unit that the provider reports)")
		}
		for _, price := range []struct{ name, text string }{{".job", p.Job}, {".unit", p.Unit}} {
			if price.text == "" {
				continue
			}
			if _, err := jobs.Multiply(price.text, "1"); err != nil {
				k.report(path+price.name, price.text, err.Error())
			}
		}
		if p.Currency == "" {
			k.report(path+".currency", "", "is not set; set a code such as USD")
		}
		if _, err := time.Parse(time.DateOnly, p.Date); err != nil {
			k.report(path+".date", p.Date, "must be the day on which the price was read, such as 2026-11-29")
		}
		if p.Source == "" {
			k.report(path+".source", "", "is not set; set the page that has the price")
		}
	}
}

// Price returns what jobs of a model cost: by the first entry of prices: that matches, else by the
// embedded table, and by what the description of the provider says of its unit.
func (c *Config) Price(provider, model string) (price jobs.Price) {
	known := provider
	if p, ok := c.Described[provider]; ok {
		if known = cmp.Or(p.Use, provider); p.Describe != nil || p.File != "" {
			known = ""
		}
		if d := p.Description(provider); d != nil && d.Billing != nil {
			b := d.Billing
			price = jobs.Price{Unit: b.Price, Currency: b.Currency, UnitName: b.Unit}
			if len(b.Unit) == 3 && strings.ToUpper(b.Unit) == b.Unit {
				price = jobs.Price{Unit: "1", Currency: b.Unit}
			}
		}
	} else {
		price.UnitName = "unit"
	}
	for i := range c.Prices {
		if c.Prices[i].matches(provider, model) {
			return c.Prices[i].apply(price)
		}
	}
	for _, p := range KnownPrices() {
		if known != "" && p.matches(known, model) {
			return p.apply(price)
		}
	}
	return price
}

// apply returns the price of an entry, with the unit's price as it is known without it.
func (p *PriceEntry) apply(price jobs.Price) jobs.Price {
	if p.Unit != "" || price.Currency != p.Currency {
		price.Unit = p.Unit
	}
	price.Job, price.Currency = p.Job, p.Currency
	return price
}
