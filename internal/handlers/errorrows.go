package handlers

import (
	"strings"

	"vmgateway/internal/backends"
)

// ErrorRow documents one code: docs/errors.md and the page that a problem's type leads to are made
// of these rows.
type ErrorRow struct {
	Code      string
	Status    int
	Title     string
	Retryable bool
	Advice    string
}

// Anchor is the code's place in the page, as in Problem.type.
func (r ErrorRow) Anchor() string { return strings.ToLower(strings.ReplaceAll(r.Code, "_", "-")) }

// ErrorRows is every code that a reply can have, in the order of the contract's enum.
func ErrorRows() []ErrorRow {
	var rows []ErrorRow
	for _, c := range backends.Codes() {
		p := problems[c]
		rows = append(rows, ErrorRow{c.String(), p.status, p.title, p.retryable, p.advice})
	}
	return rows
}
