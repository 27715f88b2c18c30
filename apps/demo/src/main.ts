console.log("The demonstration is not written yet.");
