package cmd

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

func (p *Program) keysCommand() *cli.Command {
	label := func() cli.Flag { return stringFlag("label", "", "`TEXT` behind the public key, for people") }
	return &cli.Command{
		Name:  "keys",
		Usage: "make and show the keys with which actives sign what passives follow",
		Description: "Each member that may be active has a private key of its own (--sign-key). One file with a line for each public key is the same for all members (--trusted-keys).\n\n" +
			examples(
				"starling keys generate --label a1 a1.key >>trusted.keys",
				"starling agent --dir D --bootstrap --sign-key a1.key --trusted-keys trusted.keys",
				"starling agent --dir E --role passive --join 127.0.0.1:7600 --trusted-keys trusted.keys"),
		Subcommands: []*cli.Command{
			{
				Name: "generate", Usage: "write a new private key to FILE, and print the line of its public key", ArgsUsage: "FILE",
				Description: "The file must not be there yet; nobody but its owner can read it. Whoever has it can make passives believe anything: it leaves its machine for no other.\n\n" +
					examples("starling keys generate --label a1 /etc/starling/sign.key"),
				Flags:  []cli.Flag{label()},
				Action: p.keysGenerate,
			},
			{
				Name: "show", Usage: "print the line of the public key of the private one in FILE", ArgsUsage: "FILE",
				Description: examples("starling keys show /etc/starling/sign.key"),
				Flags:       []cli.Flag{label()},
				Action:      p.keysShow,
			},
		},
	}
}

func (p *Program) keysGenerate(c *cli.Context) error {
	args := c.Args().Slice()
	private, public, err := starling.NewSigningKey(c.String("label"))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already: a key that is written over is lost; choose another name, or remove it first", args[0])
	}
	if err != nil {
		return err
	}
	_, err = f.Write(private)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(args[0]))
	}
	fmt.Fprintln(p.Stdout, public)
	return nil
}

func (p *Program) keysShow(c *cli.Context) error {
	args := c.Args().Slice()
	key, err := starling.ReadSigningKey(args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, starling.TrustedKeyLine(key, c.String("label")))
	return nil
}
