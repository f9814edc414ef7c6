package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// writeReport makes tables and picture of the raw values, and prints the tables.
func (c *config) writeReport() error {
	files, err := c.load()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, file := range files {
		fmt.Fprintf(&text, "## %s\n\n%s, %d threads, %s\n\n", file.Section, file.Machine, file.Threads, file.Written.Format("2006-01-02 15:04 MST"))
		if file.Section == "http" {
			writeServers(&text, file.Records)
		} else {
			writeEngines(&text, file.Records)
		}
	}
	os.Stdout.Write(text.Bytes())
	if err := os.WriteFile(c.path("results.md"), text.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(c.path("ratios.svg"), drawRatios(files), 0o644)
}

// writeEngines writes medians, their shares of what memory allows, and the ratios of each round.
func writeEngines(w io.Writer, records []record) {
	fmt.Fprintln(w, "| weights | | minisgl, tok/s | of the limit | llama.cpp, tok/s | of the limit | ratio | rounds |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	for _, c := range compare(records) {
		ratios := c.ratios()
		var rounds []string
		for _, r := range ratios {
			rounds = append(rounds, fmt.Sprintf("%.2f", r))
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | **%.2f** | %s |\n", c.run, c.figure, medianValue(c.ours), medianShare(c.ours),
			medianValue(c.theirs), medianShare(c.theirs), median(ratios), strings.Join(rounds, " "))
	}
	var reads, foreign []float64
	for _, r := range records {
		reads, foreign = append(reads, r.Read/1e9), append(foreign, r.Foreign*100)
	}
	fmt.Fprintf(w, "\nMemory read beside the measurements: %.1f to %.1f GB/s, median %.1f. Others took %.1f %% of the machine at most.\n\n",
		slices.Min(reads), slices.Max(reads), median(reads), slices.Max(foreign))
}

// medianOf is the median of something of each record.
func medianOf(records []record, of func(record) float64) float64 {
	var values []float64
	for _, r := range records {
		values = append(values, of(r))
	}
	return median(values)
}

func medianValue(records []record) string {
	if len(records) == 0 {
		return "–"
	}
	return number(medianOf(records, func(r record) float64 { return r.Value }))
}

func medianShare(records []record) string {
	share := medianOf(records, func(r record) float64 {
		if r.Limit == 0 {
			return 0
		}
		return r.Value / r.Limit * 100
	})
	if share == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", share)
}

func number(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// writeServers writes a column for each server.
func writeServers(w io.Writer, records []record) {
	var servers []string
	var rows [][3]string // load, figure, unit
	for _, r := range records {
		if !slices.Contains(servers, r.Who) {
			servers = append(servers, r.Who)
		}
		if row := [3]string{r.Run, r.Figure, r.Unit}; !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
	}
	fmt.Fprintf(w, "| | | %s |\n|---|---|%s\n", strings.Join(servers, " | "), strings.Repeat("---|", len(servers)))
	for _, row := range rows {
		fmt.Fprintf(w, "| %s | %s, %s |", row[0], row[1], row[2])
		for _, server := range servers {
			var of []record
			for _, r := range records {
				if r.Who == server && r.Run == row[0] && r.Figure == row[1] {
					of = append(of, r)
				}
			}
			fmt.Fprintf(w, " %s |", medianValue(of))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}
