package jobs

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// Micros is an amount of money in millionths of its currency. Sums of it are exact.
type Micros int64

// microsPerOne is how many Micros one unit of a currency has.
const microsPerOne = 1_000_000

var decimal = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,18})?$`)

var errAmount = errors.New("is not an amount; write one such as 12.50")

// ParseMicros reads a decimal amount, which must be a whole number of millionths.
func ParseMicros(text string) (Micros, error) {
	product, err := times(text, "1")
	if err != nil {
		return 0, err
	}
	if !product.IsInt() {
		return 0, errors.New("has more than six decimal places")
	}
	return Micros(product.Num().Int64()), nil
}

// times returns the product of two decimal numbers, in millionths.
func times(a, b string) (*big.Rat, error) {
	x, err := rational(a)
	if err != nil {
		return nil, err
	}
	y, err := rational(b)
	if err != nil {
		return nil, err
	}
	product := new(big.Rat).Mul(x, y)
	product.Mul(product, big.NewRat(microsPerOne, 1))
	if product.Cmp(big.NewRat(1e18, 1)) > 0 {
		return nil, errors.New("is too large an amount")
	}
	return product, nil
}

func rational(text string) (*big.Rat, error) {
	if !decimal.MatchString(text) {
		return nil, errAmount
	}
	r, _ := new(big.Rat).SetString(text) // it is a decimal
	return r, nil
}

// Multiply returns units times price, rounded half up to a millionth.
func Multiply(units, price string) (Micros, error) {
	product, err := times(units, price)
	if err != nil {
		return 0, err
	}
	product.Add(product, big.NewRat(1, 2))
	return Micros(new(big.Int).Quo(product.Num(), product.Denom()).Int64()), nil
}

// String returns the amount as a decimal with two to six places, such as "0.025".
func (m Micros) String() string {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	fraction := strings.TrimRight(fmt.Sprintf("%06d", m%microsPerOne), "0")
	for len(fraction) < 2 {
		fraction += "0"
	}
	return fmt.Sprintf("%s%d.%s", sign, m/microsPerOne, fraction)
}
