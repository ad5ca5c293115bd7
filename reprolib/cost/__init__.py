"""What a profile's runs cost before any of them runs: images, hours, disk and download (`reprolib cost`)."""
