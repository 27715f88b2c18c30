document.title = "Pannier";
