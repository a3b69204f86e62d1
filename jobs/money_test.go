package jobs

import "testing"

func TestAmountsAreExact(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Micros{"0": 0, "12.5": 12_500_000, "0.000001": 1, "1000000": 1_000_000_000_000, "0.10": 100_000} {
		if got, err := ParseMicros(text); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1e3", "0.0000001", "1,5", "NaN", ".5", "1234567890123", " 1"} {
		if got, err := ParseMicros(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
	for m, want := range map[Micros]string{0: "0.00", 1: "0.000001", 25_000: "0.025", 12_500_000: "12.50", -100_000: "-0.10"} {
		if got := m.String(); got != want {
			t.Errorf("%d: %s, want %s", m, got, want)
		}
	}
}

func TestUnitsTimesPriceIsRoundedHalfUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		units, price string
		want         Micros
	}{
		{"3", "0.025", 75_000}, {"0.1", "0.1", 10_000}, {"1", "0.0000005", 1}, {"1", "0.0000004", 0}, {"0.333333333", "3", 1_000_000},
	} {
		if got, err := Multiply(c.units, c.price); err != nil || got != c.want {
			t.Errorf("%s × %s: %d, %v; want %d", c.units, c.price, got, err, c.want)
		}
	}
}

func TestChargeOfEndedJob(t *testing.T) {
	t.Parallel()
	priced := Price{Job: "0.50", Unit: "0.10", Currency: "USD"}
	flat := Price{Job: "0.50", Currency: "USD"}
	units := Price{UnitName: "credit"}
	for name, c := range map[string]struct {
		j    Job
		p    Price
		want Charge
	}{
		"figure":          {Job{Status: JobCompleted, Submit: SubmitAccepted, Cost: "3"}, priced, Charge{300_000, "USD", ChargeBilled}},
		"estimate":        {Job{Status: JobCompleted, Submit: SubmitAccepted}, priced, Charge{500_000, "USD", ChargeEstimated}},
		"units":           {Job{Status: JobCompleted, Submit: SubmitAccepted, Cost: "3"}, units, Charge{3_000_000, "credit", ChargeBilled}},
		"unknown":         {Job{Status: JobCompleted, Submit: SubmitAccepted}, units, Charge{}},
		"failed":          {Job{Status: JobFailed, Submit: SubmitAccepted}, flat, Charge{}},
		"failed, billed":  {Job{Status: JobFailed, Submit: SubmitAccepted, Cost: "1"}, priced, Charge{100_000, "USD", ChargeBilled}},
		"rejected":        {Job{Status: JobFailed, Submit: SubmitRejected}, flat, Charge{}},
		"unknown outcome": {Job{Status: JobFailed, Submit: SubmitUnknown}, flat, Charge{500_000, "USD", ChargeEstimated}},
		"cancelled":       {Job{Status: JobCancelled, Submit: SubmitAccepted}, flat, Charge{500_000, "USD", ChargeEstimated}},
		"never sent":      {Job{Status: JobCancelled, Submit: SubmitWaiting}, flat, Charge{}},
	} {
		l := &Service{o: ServiceOptions{Price: func(string, string) Price { return c.p }}}
		if l.charge(&c.j); c.j.Charge != c.want {
			t.Errorf("%s: %+v, want %+v", name, c.j.Charge, c.want)
		}
	}
}
