package main

import (
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/griffin-ckpt/griffin/verify"
	"github.com/griffin-ckpt/griffin/verify/report"
)

// verdictFiles are the files that verify writes, by flag.
var verdictFiles = []struct {
	flag  string
	write func(path string, v *verify.Verdict, command []string) error
}{{"report", report.WriteVerdict}, {"card", report.WriteCard}}

func verdictFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "report", Usage: "write an HTML page with plots to `FILE`"},
		&cli.StringFlag{Name: "card", Usage: "write the verification card, a JSON record to publish beside the model, to `FILE`"},
	}
}

// checkVerdictFiles refuses files that cannot be written, before anything is read.
func checkVerdictFiles(c *cli.Context, reads ...string) error {
	for _, f := range verdictFiles {
		if err := checkOutputFlag(c, f.flag, reads...); err != nil {
			return err
		}
	}
	if r := c.String("report"); r != "" && filepath.Clean(r) == filepath.Clean(c.String("card")) {
		return usagef("--report and --card name the same file")
	}
	return nil
}

// writesVerdictFiles reports whether verify is to write any files.
func writesVerdictFiles(c *cli.Context) bool {
	return c.String("report") != "" || c.String("card") != ""
}

// writeVerdictFiles writes the files that the flags name, whatever the verdict is.
func writeVerdictFiles(c *cli.Context, v *verify.Verdict) error {
	for _, f := range verdictFiles {
		if path := c.String(f.flag); path != "" {
			if err := f.write(path, v, commandLine()); err != nil {
				return err
			}
		}
	}
	return nil
}
